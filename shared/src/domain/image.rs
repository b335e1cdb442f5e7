//! References to container images. Owns: their grammar, which ones agents may run, and how registries and tags are read.
//! The grammar is that of Docker and OCI registries: <https://github.com/distribution/reference>.

/// Docker's limit for the name, without tag and digest.
const MAX_NAME_BYTES: usize = 255;
const MAX_TAG_BYTES: usize = 128;
/// The registry of names without one.
const DOCKER_HUB: &str = "docker.io";

/// `[registry/]path[:tag][@digest]`. Whatever follows the grammar can be put into a path of the Engine API: it has no
/// empty, `.` or `..` segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageReference<'a> {
    /// The registry, if one is named, and the path in it.
    pub name: &'a str,
    pub tag: Option<&'a str>,
    /// With its algorithm, as `sha256:<hex>`.
    pub digest: Option<&'a str>,
}

impl<'a> ImageReference<'a> {
    /// `None` if the text is no reference.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let (tagged, digest) = match text.split_once('@') {
            Some((tagged, digest)) => (tagged, Some(digest)),
            None => (text, None),
        };
        // A colon before the last slash belongs to the registry's port.
        let last = tagged.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match tagged[last..].find(':') {
            Some(colon) => (&tagged[..last + colon], Some(&tagged[last + colon + 1..])),
            None => (tagged, None),
        };
        let is_valid = is_name(name) && tag.is_none_or(is_tag) && digest.is_none_or(is_digest);
        is_valid.then_some(Self { name, tag, digest })
    }
}

/// The registry that an image comes from. Our login for a registry is found by this name. Docker's rule: the part
/// before the first slash names a registry if it looks like the name of a machine.
#[must_use]
pub fn registry(image: &str) -> &str {
    split_registry(image).0.unwrap_or(DOCKER_HUB)
}

/// Images that agents may run.
#[derive(Clone, Debug)]
pub struct Images {
    /// The image of agents that name none.
    pub default: String,
    /// What agents may name besides. `registry/path`: the image of that path and those below it. `registry/path/`: those
    /// below it. `name:`, or a name without a slash: that image in every version. `name:tag`: that version alone.
    pub allowed: Vec<String>,
}

impl Images {
    /// The image of an agent that names this one; `None` if it is not allowed.
    #[must_use]
    pub fn choose<'a>(&'a self, requested: Option<&'a str>) -> Option<&'a str> {
        let image = requested.unwrap_or(&self.default);
        if image == self.default {
            return Some(image);
        }
        let reference = ImageReference::parse(image)?;
        let is_allowed = self
            .allowed
            .iter()
            .any(|entry| admits(entry, reference, image));
        is_allowed.then_some(image)
    }
}

/// Whole segments of the path are compared: `registry/team` does not admit `registry/team-evil`.
fn admits(entry: &str, reference: ImageReference<'_>, image: &str) -> bool {
    let is_below = |path: &str| {
        let rest = reference.name.strip_prefix(path);
        rest.is_some_and(|rest| rest.starts_with('/'))
    };
    if let Some(name) = entry.strip_suffix(':') {
        return reference.name == name;
    }
    if let Some(path) = entry.strip_suffix('/') {
        return is_below(path);
    }
    match ImageReference::parse(entry) {
        Some(ImageReference {
            name,
            tag: None,
            digest: None,
        }) => reference.name == name || name.contains('/') && is_below(name),
        _ => image == entry,
    }
}

/// An image on a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalImage {
    /// The engine's identifier.
    pub id: String,
    /// Its names with tags. Empty if other images have its tags by now.
    pub tags: Vec<String>,
    /// `name@sha256:<hex>` for each repository that it was pulled from. Empty if it was made on the host.
    pub digests: Vec<String>,
}

/// Whether the reference names one version for ever.
#[must_use]
pub fn has_fixed_digest(image: &str) -> bool {
    ImageReference::parse(image).is_some_and(|reference| reference.digest.is_some())
}

/// One version of the image that a reference names. `None` if the text is no reference.
#[must_use]
pub fn at_digest(image: &str, digest: &str) -> Option<String> {
    let name = ImageReference::parse(image)?.name;
    Some(format!("{name}@{digest}"))
}

/// Whether a text is a digest as registries give it: `sha256:<hex>`.
#[must_use]
pub fn is_sha256_digest(text: &str) -> bool {
    text.starts_with("sha256:") && is_digest(text)
}

/// The digest under which an image was pulled from its repository, which is the one that the reference names, if any.
/// `digests` as in [`LocalImage`].
#[must_use]
pub fn pulled_digest<'a>(image: &'a str, digests: &'a [String]) -> Option<&'a str> {
    if let Some(digest) = ImageReference::parse(image)?.digest {
        return Some(digest);
    }
    digests_in_repository(image, digests).next()
}

/// Whether an image was pulled from its repository under this digest: there may be several, if several indexes name it.
#[must_use]
pub fn was_pulled_as(image: &str, digest: &str, digests: &[String]) -> bool {
    digests_in_repository(image, digests).any(|pulled| pulled == digest)
}

fn digests_in_repository<'a>(
    image: &'a str,
    digests: &'a [String],
) -> impl Iterator<Item = &'a str> {
    let own = repository(image);
    digests.iter().filter_map(move |entry| {
        let (name, digest) = entry.split_once('@')?;
        (own == Some(familiar(name))).then_some(digest)
    })
}

impl Images {
    /// The names to remove so that an image goes that nobody needs any more (F76). Empty if it has to stay: it is the
    /// default image, agents of the host name it (`chosen`), it was made on the host, or agents may not run it, so that it
    /// belongs to other software.
    #[must_use]
    pub fn removable_names<'a>(&self, image: &'a LocalImage, chosen: &[String]) -> Vec<&'a str> {
        let names = || image.tags.iter().chain(&image.digests).map(String::as_str);
        let is_named = |wanted: &String| {
            let wanted = listed_name(wanted);
            names().any(|name| familiar(name) == familiar(&wanted))
        };
        if image.digests.is_empty()
            || is_named(&self.default)
            || chosen.iter().any(is_named)
            || !names().all(|name| self.is_for_agents(name))
        {
            return Vec::new();
        }
        if image.tags.is_empty() {
            return vec![&image.id];
        }
        image.tags.iter().map(String::as_str).collect()
    }

    /// Whether agents may run the image, or may have run it while it was the default.
    fn is_for_agents(&self, image: &str) -> bool {
        self.choose(Some(image)).is_some()
            || repository(image).is_some_and(|name| repository(&self.default) == Some(name))
    }
}

fn repository(image: &str) -> Option<&str> {
    Some(familiar(ImageReference::parse(image)?.name))
}

/// The name under which Docker lists the image that a reference means. It lists no tag beside a digest.
fn listed_name(image: &str) -> String {
    let digest = ImageReference::parse(image).and_then(|reference| reference.digest);
    let pinned = digest.and_then(|digest| at_digest(image, digest));
    pinned.unwrap_or_else(|| tagged(image))
}

/// A name as Docker lists it: without Docker Hub and without the path of its official images.
fn familiar(name: &str) -> &str {
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    name.strip_prefix("library/").unwrap_or(name)
}

fn split_registry(name: &str) -> (Option<&str>, &str) {
    match name.split_once('/') {
        Some((first, path)) if first.contains(['.', ':']) || first == "localhost" => {
            (Some(first), path)
        }
        _ => (None, name),
    }
}

fn is_name(name: &str) -> bool {
    let (registry, path) = split_registry(name);
    name.len() <= MAX_NAME_BYTES
        && registry.is_none_or(is_registry)
        && path.split('/').all(is_path_component)
}

fn is_registry(registry: &str) -> bool {
    let (host, port) = match registry.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (registry, None),
    };
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        let has_end = |end: Option<&u8>| end.is_some_and(u8::is_ascii_alphanumeric);
        has_end(bytes.first())
            && has_end(bytes.last())
            && bytes
                .iter()
                .all(|&byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let is_port = |port: &str| {
        (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit())
    };
    host.split('.').all(is_label) && port.is_none_or(is_port)
}

/// Lower-case letters and digits, joined by one dot, one or two underscores, or dashes.
fn is_path_component(component: &str) -> bool {
    let is_word = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = component.as_bytes();
    bytes.first().is_some_and(is_word)
        && bytes.last().is_some_and(is_word)
        && bytes.split(is_word).all(|between| {
            matches!(between, b"" | b"." | b"_" | b"__") || between.iter().all(|&b| b == b'-')
        })
}

fn is_tag(tag: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=MAX_TAG_BYTES).contains(&tag.len())
        && tag.bytes().next().is_some_and(is_word)
        && tag
            .bytes()
            .all(|byte| is_word(byte) || byte == b'.' || byte == b'-')
}

/// The algorithms that OCI has registered.
fn is_digest(digest: &str) -> bool {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    match digest.split_once(':') {
        Some(("sha256", hex)) => hex.len() == 64 && hex.bytes().all(is_hex),
        Some(("sha512", hex)) => hex.len() == 128 && hex.bytes().all(is_hex),
        _ => false,
    }
}

/// The image's name with its tag. Docker's API would pull all tags of a name without one.
#[must_use]
pub fn tagged(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains([':', '@']) {
        image.to_owned()
    } else {
        format!("{image}:latest")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn references_follow_dockers_grammar() {
        let long_path = "a".repeat(MAX_NAME_BYTES);
        let too_long_path = "a".repeat(MAX_NAME_BYTES + 1);
        let long_tag = format!("a:{}", "t".repeat(MAX_TAG_BYTES));
        let too_long_tag = format!("a:{}", "t".repeat(MAX_TAG_BYTES + 1));
        let with_digest = format!("ghcr.io:443/a/b:1@{DIGEST}");
        let short_digest = format!("a@{}", &DIGEST[..DIGEST.len() - 1]);
        let upper_digest = format!("a@{}", DIGEST.to_uppercase());
        for (text, is_valid) in [
            ("agent", true),
            ("milady/agent:cloud-full-ui", true),
            ("localhost/a", true),
            ("localhost:5000/a", true),
            ("127.0.0.1:5000/a_b/c__d/e--f/g.h:V1_.-x", true),
            (with_digest.as_str(), true),
            (long_path.as_str(), true),
            (long_tag.as_str(), true),
            (too_long_path.as_str(), false),
            (too_long_tag.as_str(), false),
            (short_digest.as_str(), false),
            (upper_digest.as_str(), false),
            ("", false),
            ("/a", false),
            ("a/", false),
            ("a//b", false),
            // F51: segments that lead to another path of the Engine API.
            ("milady/../containers/x", false),
            ("milady/./agent", false),
            ("milady/agent/..", false),
            ("..", false),
            ("milady/%2e%2e/x", false),
            ("milady/a\\b", false),
            ("milady/agent?x=1", false),
            ("milady/agent#x", false),
            ("milady/agent\n", false),
            ("milady/agént", false),
            ("-rm", false),
            ("a b", false),
            ("a:", false),
            ("a:-x", false),
            ("a:b:c", false),
            ("a@", false),
            ("a@sha256:00ff", false),
            ("a@md5:0123456789abcdef0123456789abcdef", false),
            ("Milady/agent", false),
            ("a/B", false),
            ("a...b", false),
            ("a___b", false),
            ("a._b", false),
            ("a-", false),
            ("-a.com/b", false),
            ("a.-b.com/b", false),
            ("a.com:/b", false),
            ("a.com:123456/b", false),
            ("https://a.com/b", false),
        ] {
            assert_eq!(ImageReference::parse(text).is_some(), is_valid, "{text:?}");
        }
        let parts = ImageReference::parse(&with_digest);
        assert_eq!(
            parts,
            Some(ImageReference {
                name: "ghcr.io:443/a/b",
                tag: Some("1"),
                digest: Some(DIGEST),
            })
        );
    }

    #[test]
    fn f69_the_digest_is_that_of_the_images_own_repository() {
        let digests = ["a/b@sha256:1".to_owned(), "ghcr.io/a/b@sha256:2".to_owned()];
        for (image, digest) in [
            ("a/b:1", Some("sha256:1")),
            ("docker.io/a/b", Some("sha256:1")),
            ("ghcr.io/a/b:1", Some("sha256:2")),
            ("a/c:1", None),
        ] {
            assert_eq!(pulled_digest(image, &digests), digest, "{image}");
        }
        assert_eq!(pulled_digest("a/b:1", &[]), None);
        // One image under two digests: a start that looks at the first alone would pull it each time.
        let twice = ["a/b@sha256:1".to_owned(), "a/b@sha256:2".to_owned()];
        assert!(was_pulled_as("a/b:1", "sha256:2", &twice));
        assert!(!was_pulled_as("a/b:1", "sha256:3", &twice));
        assert!(!was_pulled_as("a/c:1", "sha256:2", &twice));
        let pinned = at_digest("localhost:5000/a/b:1", DIGEST).expect("a reference");
        assert_eq!(pinned, format!("localhost:5000/a/b@{DIGEST}"));
        assert_eq!(pulled_digest(&pinned, &[]), Some(DIGEST));
        assert_eq!(at_digest("a//b", DIGEST), None);
        assert!(is_sha256_digest(DIGEST) && !is_sha256_digest("sha256:1"));
    }

    #[test]
    fn f76_only_pulled_images_of_agents_are_removed_and_none_that_one_names() {
        let texts = |texts: &[&str]| -> Vec<String> {
            texts.iter().map(|text| (*text).to_owned()).collect()
        };
        let images = Images {
            default: "team/default:2".to_owned(),
            allowed: texts(&["milady/"]),
        };
        let check_chosen = |chosen: &[&str], tags: &[&str], digests: &[&str], names: &[&str]| {
            let image = LocalImage {
                id: "id".to_owned(),
                tags: texts(tags),
                digests: texts(digests),
            };
            let removable = images.removable_names(&image, &texts(chosen));
            assert_eq!(removable, names, "{image:?} {chosen:?}");
        };
        let check = |tags: &[&str], digests: &[&str], names: &[&str]| {
            check_chosen(&[], tags, digests, names);
        };
        let old = format!("team/default@sha256:{}", "1".repeat(64));
        let other = format!("milady/agent@sha256:{}", "2".repeat(64));
        let foreign = format!("postgres@sha256:{}", "3".repeat(64));
        let two = ["milady/agent:1", "milady/agent:2"];
        check(&two[..1], &[&other], &two[..1]);
        check(&two, &[&other], &two);
        // What a tag named before: it has no tag any more.
        check(&[], &[&other], &["id"]);
        check(&[], &[&old], &["id"]);
        check(&["team/default:1"], &[&old], &["team/default:1"]);
        check(&["team/default:2"], &[&old], &[]);
        check(&["docker.io/team/default:2"], &[&old], &[]);
        check(&["team/default:1", "team/default:2"], &[&old], &[]);
        // Made on the host.
        check(&["milady/agent:sample"], &[], &[]);
        check(&["postgres:15"], &[&foreign], &[]);
        check(&["milady/agent:1", "postgres:15"], &[&other, &foreign], &[]);
        check(&[], &[], &[]);
        // What an agent of the host names.
        for chosen in ["milady/agent:1", "docker.io/milady/agent:1", other.as_str()] {
            check_chosen(&[chosen], &two[..1], &[&other], &[]);
        }
        let with_tag = other.replace('@', ":1@");
        check_chosen(&[&with_tag], &[], &[&other], &[]);
        check_chosen(&["milady/agent:2"], &two[..1], &[&other], &two[..1]);
    }

    #[test]
    fn f51_an_image_is_allowed_by_whole_segments_of_its_path_or_as_the_default() {
        let images = Images {
            default: "other/agent:1".to_owned(),
            allowed: [
                "milady/",
                "ghcr.io/milady/",
                "registry.example/team",
                "elizaos/agent:",
                "pinned/agent:v1",
                "redis:7",
                "python",
            ]
            .map(str::to_owned)
            .to_vec(),
        };
        let by_digest = format!("ghcr.io/milady/a@{DIGEST}");
        for (requested, is_allowed) in [
            ("other/agent:1", true),
            ("other/agent:2", false),
            ("milady/agent:x", true),
            ("milady/a/b", true),
            ("milady", false),
            ("milady/../evil", false),
            ("evil/milady/agent", false),
            ("Milady/agent", false),
            ("docker.io/milady/agent", false),
            ("evil.example/milady/agent", false),
            (by_digest.as_str(), true),
            ("registry.example/team", true),
            ("registry.example/team:1", true),
            ("registry.example/team/agent:1", true),
            ("registry.example/team-evil", false),
            ("registry.example/team-evil/agent", false),
            ("registry.example/team.evil", false),
            ("registry.example/team/../theirs", false),
            ("registry.example:5000/ours", false),
            ("elizaos/agent:latest", true),
            ("elizaos/agent", true),
            ("elizaos/agent-evil:1", false),
            ("elizaos/agent/x", false),
            ("pinned/agent:v1", true),
            ("pinned/agent:v10", false),
            ("pinned/agent", false),
            ("redis:7", true),
            ("redis:7/evil", false),
            ("python:3", true),
            ("python/evil", false),
        ] {
            let chosen = images.choose(Some(requested));
            assert_eq!(chosen, is_allowed.then_some(requested), "{requested:?}");
        }
        assert_eq!(images.choose(None), Some("other/agent:1"));
    }

    #[test]
    fn registries_and_tags_are_read_as_docker_reads_them() {
        let by_digest = format!("a/b@{DIGEST}");
        for (image, expected_registry, name) in [
            ("milady/agent", DOCKER_HUB, "milady/agent:latest"),
            ("agent", DOCKER_HUB, "agent:latest"),
            ("ghcr.io/a/b:1", "ghcr.io", "ghcr.io/a/b:1"),
            (
                "127.0.0.1:5000/a",
                "127.0.0.1:5000",
                "127.0.0.1:5000/a:latest",
            ),
            ("localhost/a", "localhost", "localhost/a:latest"),
            (by_digest.as_str(), DOCKER_HUB, by_digest.as_str()),
        ] {
            assert_eq!(registry(image), expected_registry);
            assert_eq!(tagged(image), name);
        }
    }
}
