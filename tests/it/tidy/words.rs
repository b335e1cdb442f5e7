//! Words and forms that the glossary replaced.

/// Names that had a better one in the field's language. The glossary in `shared/src/lib.rs` has what is used
/// instead. Names on the wire (`ghostContainers`, `remove-ghost`, `orphanRecords`) are string literals and stay.
const REPLACED: &[&str] = &[
    "Act",
    "Begun",
    "Brought",
    "Flip",
    "Ghost",
    "Handover",
    "Moment",
    "NotNow",
    "Once",
    "Ours",
    "Pass",
    "Ran",
    "Reading",
    "Repeatable",
    "Round",
    "Seen",
    "Standing",
    "Told",
    "Unheard",
    "Unread",
    "Visit",
    "Wanted",
    "Work",
    "bring_up",
    "flip",
    "flips",
    "ghost",
    "is_ours",
    "leftovers",
    "patiently",
    "ours",
];

/// Where the library uses such a word as a name, or a tuple of identifiers as a type, as messages.
pub fn replaced(files: &[(String, String)]) -> Vec<String> {
    let mut messages = Vec::new();
    for (name, text) in files {
        for (number, line) in text.lines().enumerate() {
            let code = without_literals(line);
            let word = code
                .split(|c: char| !(c.is_alphanumeric() || c == '_'))
                .find(|word| REPLACED.contains(word));
            if let Some(word) = word {
                messages.push(format!("{name}:{}: {word}", number + 1));
            }
            if holds_identifier_tuple(&code) {
                messages.push(format!("{name}:{}: a tuple of identifiers", number + 1));
            }
        }
    }
    messages
}

/// A line without the text of its string literals: wire names stay as they are.
fn without_literals(line: &str) -> String {
    line.split('"').step_by(2).collect::<Vec<_>>().join("\"\"")
}

/// `(OrganizationId, AgentId)`, `(Uuid, Uuid)`.
fn holds_identifier_tuple(code: &str) -> bool {
    code.split('(').skip(1).any(|rest| {
        let Some((inside, _)) = rest.split_once(')') else {
            return false;
        };
        let parts: Vec<&str> = inside.split(',').map(str::trim).collect();
        let is_identifier = |part: &&str| {
            *part == "Uuid"
                || (part.ends_with("Id") && part.chars().all(|c| c.is_ascii_alphanumeric()))
        };
        parts.len() > 1 && parts.iter().filter(|part| is_identifier(part)).count() > 1
    })
}
