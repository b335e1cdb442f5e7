//! Every query on tenant data is limited to an organization, or says in its name that it is not.

use std::collections::BTreeSet;

use quote::ToTokens;
use syn::visit::Visit;

use super::source::is_test_only;

/// Tables whose rows belong to an organization.
const TENANT_TABLES: &[&str] = &[
    "milady_sandboxes",
    "milady_sandbox_backups",
    "milady_pairing_tokens",
    "jobs",
    "credit_transactions",
    "usage_spans",
    "billing_accounts",
    "idempotency_keys",
    "agent_databases",
    "agent_environments",
    "outbox_events",
    "product_event_batches",
    "organization_limits",
    "open_streams",
    "snapshot_requests",
    "organization_settings",
    "mail_deliveries",
    "suppressed_addresses",
    "organization_webhooks",
    "webhook_deliveries",
    "resume_attempts",
    "resume_notices",
    "ailing_containers",
    "container_deaths",
    "daily_backups",
    "backup_objects",
    "fleet_discrepancies",
    "agent_moves",
    "image_restarts",
    "lost_agents",
    "failed_starts",
    "container_suspicions",
];
/// Types that carry the organization. Structs that hold one of them are found by [`carriers`].
const SCOPES: &[&str] = &["OrganizationId", "AgentRef", "Clearance"];
const SUFFIX: &str = "_of_any_organization";

/// Functions that work on the rows of all organizations by their nature and are called by no request.
/// Each name needs a reason.
const FLEET_WIDE: &[(&str, &str)] = &[
    // The billing run writes what it decided under the locks of the organizations.
    ("agents_add_totals", "the rows of locked organizations"),
    ("agents_update_billing", "the rows of locked organizations"),
    (
        "spans_advance",
        "a compare-and-set on spans of locked organizations",
    ),
    ("organizations_due", "finds the organizations to bill"),
    // The refresh run and operators correct the slots of hosts, which are no tenant's.
    ("slots_reconcile", "counts the agents of each host"),
];

/// Functions of `db` that read or write tenant data without an organization, as messages.
pub fn unscoped(files: &[(String, String)]) -> Vec<String> {
    let in_db = || files.iter().filter(|(name, _)| name.starts_with("db/"));
    let mut scopes: BTreeSet<String> = SCOPES.iter().map(|name| (*name).to_owned()).collect();
    // Structs can hold structs: repeat until nothing is added.
    loop {
        let before = scopes.len();
        for (_, text) in files
            .iter()
            .filter(|(name, _)| name.starts_with("db/") || name.starts_with("domain/"))
        {
            carriers(text, &mut scopes);
        }
        if scopes.len() == before {
            break;
        }
    }
    let macros: Vec<(String, &'static str)> =
        in_db().flat_map(|(_, text)| query_macros(text)).collect();
    let mut messages = Vec::new();
    for (name, text) in in_db() {
        let syntax = syn::parse_file(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut functions = Functions {
            macros: &macros,
            found: Vec::new(),
        };
        functions.visit_file(&syntax);
        for function in functions.found {
            let is_scoped = function.words.iter().any(|word| scopes.contains(word));
            let is_named = function.name.ends_with(SUFFIX)
                || FLEET_WIDE.iter().any(|(known, _)| *known == function.name);
            if function.table.is_some() && !is_scoped && !is_named {
                let table = function.table.unwrap_or_default();
                messages.push(format!(
                    "{name}: {} queries {table} without an organization",
                    function.name
                ));
            }
        }
    }
    messages
}

/// Adds the structs of a file that hold a scope.
fn carriers(text: &str, scopes: &mut BTreeSet<String>) {
    let syntax = syn::parse_file(text).expect("Rust");
    for item in &syntax.items {
        if let syn::Item::Struct(item) = item {
            let holds = item.fields.iter().any(|field| {
                words(&field.ty.to_token_stream().to_string())
                    .iter()
                    .any(|word| scopes.contains(word))
            });
            if holds {
                scopes.insert(item.ident.to_string());
            }
        }
    }
}

/// The macros of a file that expand to a query on a tenant table: shared select lists.
fn query_macros(text: &str) -> Vec<(String, &'static str)> {
    let syntax = syn::parse_file(text).expect("Rust");
    let macros = syntax.items.iter().filter_map(|item| match item {
        syn::Item::Macro(item) => {
            let table = tenant_table(item.mac.tokens.clone())?;
            Some((item.ident.as_ref()?.to_string(), table))
        }
        _ => None,
    });
    macros.collect()
}

/// A tenant table that string literals among these tokens name.
fn tenant_table(tokens: proc_macro2::TokenStream) -> Option<&'static str> {
    let mut literals = Literals::default();
    literals.collect(tokens);
    let sql: BTreeSet<String> = words(&literals.text).into_iter().collect();
    TENANT_TABLES
        .iter()
        .copied()
        .find(|table| sql.contains(*table))
}

fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

struct Functions<'a> {
    macros: &'a [(String, &'static str)],
    found: Vec<Function>,
}

struct Function {
    name: String,
    /// The words of the parameters' types.
    words: Vec<String>,
    /// A tenant table that its SQL names.
    table: Option<&'static str>,
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_test_only(&item.attrs) {
            syn::visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        let body = item.block.to_token_stream();
        let called: BTreeSet<String> = words(&body.to_string()).into_iter().collect();
        let by_macro = || {
            let mut known = self.macros.iter();
            known
                .find(|(name, _)| called.contains(name))
                .map(|(_, table)| *table)
        };
        self.found.push(Function {
            name: item.sig.ident.to_string(),
            words: words(&item.sig.inputs.to_token_stream().to_string()),
            table: tenant_table(body).or_else(by_macro),
        });
    }
}

/// The string literals of a function and of the macros it calls.
#[derive(Default)]
struct Literals {
    text: String,
}

impl Literals {
    fn collect(&mut self, tokens: proc_macro2::TokenStream) {
        for token in tokens {
            match token {
                proc_macro2::TokenTree::Literal(literal) => {
                    let literal = literal.to_string();
                    if literal.contains('"') {
                        self.text.push_str(&literal);
                        self.text.push(' ');
                    }
                }
                proc_macro2::TokenTree::Group(group) => self.collect(group.stream()),
                _ => {}
            }
        }
    }
}
