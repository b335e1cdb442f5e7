//! The library's source files as the rules see them: parsed, without their unit tests.

use std::collections::BTreeMap;
use std::path::Path;

use quote::ToTokens;
use syn::visit::Visit;

/// The place of a file in the library: `["app", "agent", "start"]`.
pub type ModulePath = Vec<String>;

/// What one file names.
#[derive(Debug, Default)]
pub struct Module {
    /// The path of the file below `shared/src`, for messages.
    pub file: String,
    /// Items of other modules that the code names, as paths from the root of the crate.
    pub references: Vec<ModulePath>,
    /// `pub use`: the name under which an item of another module is offered, and where it is.
    pub reexports: BTreeMap<String, ModulePath>,
}

/// The whole library, by module path.
pub type Library = BTreeMap<ModulePath, Module>;

/// Reads every file below a folder.
pub fn read_folder(root: &Path) -> Vec<(String, String)> {
    fn walk(root: &Path, at: &Path, files: &mut Vec<(String, String)>) {
        for entry in std::fs::read_dir(at).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(root, &path, files);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).expect("a path below the root");
                let text = std::fs::read_to_string(&path).expect("a text file");
                files.push((name.to_str().expect("a plain name").to_owned(), text));
            }
        }
    }
    let mut files = Vec::new();
    walk(root, root, &mut files);
    files.sort();
    files
}

/// Parses files given as (path below `shared/src`, text). `lib.rs` only declares modules and is left out.
pub fn library(files: &[(String, String)]) -> Library {
    let mut test_only: Vec<ModulePath> = Vec::new();
    let mut parsed = Vec::new();
    for (name, text) in files {
        let syntax = syn::parse_file(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let path = module_path(name);
        for item in &syntax.items {
            if let syn::Item::Mod(module) = item
                && is_test_only(&module.attrs)
            {
                let mut child = path.clone();
                child.push(module.ident.to_string());
                test_only.push(child);
            }
        }
        parsed.push((name, path, syntax));
    }
    parsed
        .into_iter()
        .filter(|(_, path, _)| !path.is_empty())
        .filter(|(_, path, _)| !test_only.iter().any(|test| path.starts_with(test)))
        .map(|(name, path, syntax)| {
            let mut reader = Reader::new(path.clone());
            reader.read(&syntax);
            let module = Module {
                file: name.clone(),
                references: reader.references,
                reexports: reader.reexports,
            };
            (path, module)
        })
        .collect()
}

fn module_path(name: &str) -> ModulePath {
    let name = name.strip_suffix(".rs").expect("a Rust file");
    let name = name.strip_suffix("/mod").unwrap_or(name);
    match name {
        "lib" => Vec::new(),
        name => name.split('/').map(str::to_owned).collect(),
    }
}

pub fn is_test_only(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .meta
                .to_token_stream()
                .to_string()
                .contains("test")
    })
}

/// Collects the references of one file.
struct Reader {
    path: ModulePath,
    /// Names that `use` and `mod` bring into scope, and what they stand for.
    names: BTreeMap<String, ModulePath>,
    references: Vec<ModulePath>,
    reexports: BTreeMap<String, ModulePath>,
}

impl Reader {
    fn new(path: ModulePath) -> Self {
        Self {
            path,
            names: BTreeMap::new(),
            references: Vec::new(),
            reexports: BTreeMap::new(),
        }
    }

    fn read(&mut self, file: &syn::File) {
        for item in &file.items {
            if let syn::Item::Mod(module) = item {
                let mut child = self.path.clone();
                child.push(module.ident.to_string());
                self.names.insert(module.ident.to_string(), child);
            }
        }
        for item in &file.items {
            if let syn::Item::Use(item) = item
                && !is_test_only(&item.attrs)
            {
                let is_private = matches!(item.vis, syn::Visibility::Inherited);
                self.import(&item.tree, &mut Vec::new(), is_private);
            }
        }
        for item in &file.items {
            if !matches!(item, syn::Item::Use(_)) {
                self.visit_item(item);
            }
        }
    }

    fn import(&mut self, tree: &syn::UseTree, prefix: &mut Vec<String>, is_private: bool) {
        match tree {
            syn::UseTree::Path(path) => {
                prefix.push(path.ident.to_string());
                self.import(&path.tree, prefix, is_private);
                prefix.pop();
            }
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.import(tree, prefix, is_private);
                }
            }
            syn::UseTree::Glob(_) => self.add(prefix, None, is_private),
            syn::UseTree::Name(name) => {
                let name = name.ident.to_string();
                self.add_leaf(prefix, &name, &name, is_private);
            }
            syn::UseTree::Rename(rename) => {
                let (name, alias) = (rename.ident.to_string(), rename.rename.to_string());
                self.add_leaf(prefix, &name, &alias, is_private);
            }
        }
    }

    fn add_leaf(&mut self, prefix: &[String], name: &str, alias: &str, is_private: bool) {
        let mut path = prefix.to_vec();
        let alias = if name == "self" {
            prefix.last().map_or(alias, String::as_str).to_owned()
        } else {
            path.push(name.to_owned());
            alias.to_owned()
        };
        self.add(&path, Some(alias), is_private);
    }

    fn add(&mut self, path: &[String], alias: Option<String>, is_private: bool) {
        let Some(target) = self.absolute(path) else {
            return;
        };
        match alias {
            Some(alias) if is_private => {
                self.names.insert(alias, target.clone());
                self.references.push(target);
            }
            // A module that offers an item of its children does not use it.
            Some(alias) => {
                self.reexports.insert(alias.clone(), target.clone());
                self.names.insert(alias, target.clone());
                if !target.starts_with(&self.path) {
                    self.references.push(target);
                }
            }
            None => self.references.push(target),
        }
    }

    /// The path from the root of the crate; `None` for another crate's or a local name.
    fn absolute(&self, path: &[String]) -> Option<ModulePath> {
        let (first, mut rest) = path.split_first()?;
        match first.as_str() {
            "crate" => Some(rest.to_vec()),
            "self" => Some([self.path.as_slice(), rest].concat()),
            "super" => {
                let mut base = self.path.clone();
                base.pop();
                while let Some((next, after)) = rest.split_first()
                    && next == "super"
                {
                    base.pop();
                    rest = after;
                }
                base.extend(rest.iter().cloned());
                Some(base)
            }
            name => {
                let target = self.names.get(name)?;
                Some([target.as_slice(), rest].concat())
            }
        }
    }

    fn reference(&mut self, path: &[String]) {
        if path.len() > 1
            && let Some(target) = self.absolute(path)
        {
            self.references.push(target);
        }
    }

    /// Paths in the tokens of a macro call, which the parser does not look into.
    fn reference_tokens(&mut self, tokens: proc_macro2::TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                proc_macro2::TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.reference(&std::mem::take(&mut path));
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                proc_macro2::TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                other => {
                    self.reference(&std::mem::take(&mut path));
                    colons = 0;
                    if let proc_macro2::TokenTree::Group(group) = other {
                        self.reference_tokens(group.stream());
                    }
                }
            }
        }
        self.reference(&path);
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attributes = match item {
            syn::Item::Mod(item) => &item.attrs,
            syn::Item::Fn(item) => &item.attrs,
            syn::Item::Impl(item) => &item.attrs,
            syn::Item::Const(item) => &item.attrs,
            syn::Item::Use(item) => {
                let is_private = matches!(item.vis, syn::Visibility::Inherited);
                self.import(&item.tree, &mut Vec::new(), is_private);
                return;
            }
            _ => return syn::visit::visit_item(self, item),
        };
        if !is_test_only(attributes) {
            syn::visit::visit_item(self, item);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string())
            .collect();
        self.reference(&segments);
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.reference_tokens(call.tokens.clone());
        syn::visit::visit_macro(self, call);
    }
}
