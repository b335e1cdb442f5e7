//! Derived files say what the code says, and `template.yaml` has the routes that the code describes.

use std::collections::BTreeSet;

use dev::build::workspace;
use dev::template::Template;
use shared::api::routes;
use tests::derived;

#[test]
fn no_derived_file_is_stale() {
    for (path, text) in derived::files().expect("derived files") {
        let on_disk = std::fs::read_to_string(workspace().join(&path)).unwrap_or_default();
        assert!(on_disk == text, "{path} is stale: run `cargo prepare`");
    }
}

#[test]
fn template_has_exactly_the_described_routes() {
    let described: BTreeSet<String> = routes::all()
        .map(|route| format!("{} {} -> {}", route.method, route.path, route.function))
        .collect();
    let template = Template::load().expect("template.yaml");
    let mut in_template = BTreeSet::new();
    for function in &template.functions {
        let routes = function.routes.iter();
        for route in routes.filter(|route| route.method != "ANY") {
            in_template.insert(format!(
                "{} {} -> {}",
                route.method, route.path, function.name
            ));
        }
    }
    assert_eq!(described, in_template);
}
