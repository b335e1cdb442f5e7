//! Moves between two real engines: what a copy keeps of an agent's files.

use std::collections::BTreeMap;

use serde_json::json;
use tests::{Lab, run};

const BLOCK: usize = 512;

/// A file in a tar archive.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    /// `0` file, `1` hard link, `2` symbolic link, `5` directory.
    kind: u8,
    mode: u64,
    owner: u64,
    group: u64,
    modified: u64,
    /// The target of a link.
    link: String,
    content: Vec<u8>,
}

fn number(field: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(field);
    let text = text.trim_matches(|c: char| c == '\0' || c == ' ');
    u64::from_str_radix(text, 8).unwrap_or_default()
}

fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0);
    let field = &field[..end.unwrap_or(field.len())];
    String::from_utf8_lossy(field).into_owned()
}

/// The entries by name.
fn parse(archive: &[u8]) -> BTreeMap<String, Entry> {
    let mut entries = BTreeMap::new();
    let mut rest = archive;
    while let Some((header, after)) = rest.split_at_checked(BLOCK) {
        if header.iter().all(|byte| *byte == 0) {
            break;
        }
        let length = usize::try_from(number(&header[124..136])).expect("a length");
        let (content, after) = after.split_at(length);
        rest = &after[length.next_multiple_of(BLOCK) - length..];
        let entry = Entry {
            kind: header[156],
            mode: number(&header[100..108]) & 0o7777,
            owner: number(&header[108..116]),
            group: number(&header[116..124]),
            modified: number(&header[136..148]),
            link: text(&header[157..257]),
            content: content.to_vec(),
        };
        entries.insert(text(&header[..100]), entry);
    }
    entries
}

fn append(archive: &mut Vec<u8>, name: &str, entry: &Entry) {
    let mut header = [0; BLOCK];
    let mut put = |at: usize, text: &str| {
        header[at..at + text.len()].copy_from_slice(text.as_bytes());
    };
    put(0, name);
    put(100, &format!("{:07o}", entry.mode));
    put(108, &format!("{:07o}", entry.owner));
    put(116, &format!("{:07o}", entry.group));
    put(124, &format!("{:011o}", entry.content.len()));
    put(136, &format!("{:011o}", entry.modified));
    put(148, "        ");
    put(156, &char::from(entry.kind).to_string());
    put(157, &entry.link);
    put(257, "ustar\u{0}00");
    let sum: u32 = header.iter().copied().map(u32::from).sum();
    header[148..154].copy_from_slice(format!("{sum:06o}").as_bytes());
    header[154] = 0;
    archive.extend_from_slice(&header);
    archive.extend_from_slice(&entry.content);
    archive.resize(archive.len().next_multiple_of(BLOCK), 0);
}

#[test]
fn f70_a_move_keeps_owners_modes_times_and_links_of_all_files() {
    run(async {
        let Some(lab) = Lab::new(2).await else {
            return;
        };
        let operator = lab.world.super_admin().await;
        lab.world
            .execute("UPDATE docker_nodes SET enabled = node_id = 'n1'")
            .await;
        let agent = lab.running_agent(json!({})).await;
        lab.world
            .execute("UPDATE docker_nodes SET enabled = true")
            .await;
        let file = Entry {
            kind: b'0',
            mode: 0o640,
            owner: 1_234,
            group: 4_321,
            modified: 1_700_000_000,
            link: String::new(),
            content: b"a".repeat(3_000_000),
        };
        let link = |kind, target: &str| Entry {
            kind,
            link: target.to_owned(),
            content: Vec::new(),
            ..file.clone()
        };
        let directory = Entry {
            kind: b'5',
            mode: 0o2711,
            content: Vec::new(),
            ..file.clone()
        };
        // Without another link: Docker takes the bit from a file when it makes a hard link to it.
        let set_user_id = Entry {
            mode: 0o4750,
            ..file.clone()
        };
        let mut archive = Vec::new();
        for (name, entry) in [
            ("data/kept/", &directory),
            ("data/kept/set-user-id", &set_user_id),
            ("data/kept/file", &file),
            ("data/kept/same", &link(b'1', "data/kept/file")),
            ("data/kept/symbolic", &link(b'2', "../away")),
            ("data/kept/empty/", &directory),
        ] {
            append(&mut archive, name, entry);
        }
        archive.resize(archive.len() + 2 * BLOCK, 0);
        let container = format!("milady-{agent}");
        let [first, second] = &lab.hosts[..] else {
            panic!("two hosts");
        };
        first
            .engine
            .put_archive(&container, "/app", &archive)
            .await
            .expect("files");
        let read = async |host: &dev::host::Host| {
            let archive = host.engine.get_archive(&container, "/app/data").await;
            let mut entries = parse(&archive.expect("an archive"));
            // Engines may write further headers, which are no files.
            entries.retain(|name, entry| {
                name.starts_with("data/kept/") && !b"xg".contains(&entry.kind)
            });
            entries
        };
        let before = read(first).await;
        let kinds: Vec<u8> = before.values().map(|entry| entry.kind).collect();
        assert_eq!(before.len(), 6, "{:?}", before.keys());
        assert!(kinds.contains(&b'1') && kinds.contains(&b'2'), "{kinds:?}");
        assert!(
            before
                .values()
                .any(|entry| entry.mode == 0o4750 && entry.owner == 1_234)
        );

        let path = format!("/api/v1/admin/agents/{agent}/move");
        let moved = lab.world.post(&operator, &path).await;
        assert_eq!(moved.status(), 202, "{moved:?}");
        for _ in 0..2 {
            let job = sqlx::query_scalar(
                "SELECT id FROM jobs WHERE agent_id = $1 AND status = 'pending'",
            )
            .bind(agent)
            .fetch_one(&lab.world.pool)
            .await;
            let outcome = lab.run(job.expect("a job")).await;
            assert_eq!(outcome, "completed", "{}", lab.last_job(agent).await);
            lab.sweep().await;
        }
        assert_eq!(lab.containers(agent).await, [0, 1]);
        assert_eq!(lab.volumes(agent).await, [1, 1]);
        assert_eq!(read(second).await, before);
        assert_eq!(lab.delete(agent).await, "completed");
        lab.assert_gone(agent, "deleted").await;
    });
}
