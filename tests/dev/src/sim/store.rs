//! The images and volumes of a simulated engine, and the registry that it pulls from.

use std::collections::BTreeMap;

use hyper::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use super::docker_json;
use super::docker_start::Refusal;
use super::script::{Death, Script};

const LABEL_AGENT: &str = "milady.agent";
const LABEL_ORGANIZATION: &str = "milady.organization";

/// An image that the engine pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PulledImage {
    /// The name with a tag; `None` once the tag names another version.
    pub name: Option<String>,
    /// Without the tag.
    pub repository: String,
    /// `sha256:<hex>`.
    pub digest: String,
}

/// A volume of the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    pub name: String,
    pub labels: BTreeMap<String, String>,
}

impl Volume {
    /// The volume that a start of this agent creates.
    #[must_use]
    pub fn of_agent(agent: Uuid, organization: Uuid) -> Self {
        let labels = [(LABEL_AGENT, agent), (LABEL_ORGANIZATION, organization)];
        let labels = labels.map(|(label, id)| (label.to_owned(), id.to_string()));
        Self {
            name: format!("milady-{agent}"),
            labels: labels.into(),
        }
    }
}

impl PulledImage {
    fn new(name: &str, digest: &str) -> Self {
        let repository = name
            .rsplit_once(':')
            .map_or(name, |(repository, _)| repository);
        Self {
            name: Some(name.to_owned()),
            repository: repository.to_owned(),
            digest: digest.to_owned(),
        }
    }

    fn json(&self) -> Value {
        json!({
            "Id": self.digest, "ParentId": "", "RepoTags": self.name.iter().collect::<Vec<_>>(),
            "RepoDigests": [format!("{}@{}", self.repository, self.digest)], "Created": 1_767_225_600,
            "Size": 1_000_000, "SharedSize": -1, "VirtualSize": 1_000_000, "Labels": null, "Containers": -1,
        })
    }
}

pub(super) fn images(script: &Script) -> Value {
    script.pulled.iter().map(PulledImage::json).collect()
}

/// The engine's id of an image that was made on the host.
pub(super) const MADE_HERE: &str =
    "sha256:ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";

/// The engine's id of an image, which may be named by its id, by a tag, or by its repository and its digest. As with
/// containerd's store, the id of a pulled image is its digest. `None` if the image is not there.
pub(super) fn image_id(script: &Script, name: &str) -> Option<String> {
    let mut pulled = script.pulled.iter();
    let pulled = pulled.find(|image| {
        image.name.as_deref() == Some(name)
            || image.digest == name
            || format!("{}@{}", image.repository, image.digest) == name
    });
    if let Some(image) = pulled {
        return Some(image.digest.clone());
    }
    let mut containers = script.containers.iter();
    let is_used = containers.any(|container| container.image_id == name);
    let is_there = script.images.contains(name) || is_used;
    let id = if name.starts_with("sha256:") {
        name
    } else {
        MADE_HERE
    };
    is_there.then(|| id.to_owned())
}

/// How a container ends whose image is broken.
pub(super) fn broken_image(script: &Script, id: &str) -> Option<Death> {
    let container = script.find(id)?;
    let broken = &script.broken_images;
    let is_broken = broken.contains(&container.image) || broken.contains(&container.image_id);
    is_broken.then_some(Death {
        exit_code: 1,
        oom_killed: false,
    })
}

/// The names under which an image was pulled.
pub(super) fn digests(script: &Script, name: &str) -> Vec<String> {
    let pulled = script.pulled.iter();
    let pulled = pulled.filter(|image| image.name.as_deref() == Some(name));
    pulled
        .map(|image| format!("{}@{}", image.repository, image.digest))
        .collect()
}

/// What the registry has for a tag now.
pub(super) fn resolve(script: &Script, name: &str) -> Result<Value, Refusal> {
    let Some(digest) = script.registry.get(name) else {
        let message = format!("manifest unknown: {name}");
        return Err(Refusal::new(StatusCode::NOT_FOUND, message));
    };
    let media_type = "application/vnd.oci.image.index.v1+json";
    Ok(json!({
        "Descriptor": {"mediaType": media_type, "digest": digest, "size": 1000},
        "Platforms": [{"architecture": "amd64", "os": "linux"}],
    }))
}

/// Every image exists in the registry. One whose digest the script names is known by it from now on.
pub(super) fn pull(script: &mut Script, name: &str) {
    script.images.insert(name.to_owned());
    if let Some((repository, digest)) = name.split_once('@') {
        if image_id(script, digest).is_none() {
            script.pulled.push(PulledImage {
                name: None,
                repository: repository.to_owned(),
                digest: digest.to_owned(),
            });
        }
        return;
    }
    let Some(digest) = script.registry.get(name).cloned() else {
        return;
    };
    for image in &mut script.pulled {
        if image.name.as_deref() == Some(name) {
            image.name = None;
        }
    }
    script.pulled.push(PulledImage::new(name, &digest));
}

/// Removes an image by its name or its id.
pub(super) fn remove_image(script: &mut Script, name: &str) -> Result<Value, Refusal> {
    if script
        .containers
        .iter()
        .any(|container| container.image == name || container.image_id == name)
    {
        let message = format!(
            "conflict: unable to remove repository reference \"{name}\" (must force) - container 0123456789ab is using \
            its referenced image {name}"
        );
        return Err(Refusal::new(StatusCode::CONFLICT, message));
    }
    let before = script.pulled.len();
    script
        .pulled
        .retain(|image| image.name.as_deref() != Some(name) && image.digest != name);
    if script.images.remove(name) || script.pulled.len() < before {
        Ok(json!([{"Untagged": name}]))
    } else {
        let message = format!("No such image: {name}");
        Err(Refusal::new(StatusCode::NOT_FOUND, message))
    }
}

/// The volumes with the label of an agent that no container uses. Nothing asks for others.
pub(super) fn unused_volumes(script: &Script) -> Value {
    let volumes = script.volumes.iter().filter(|volume| {
        let mut containers = script.containers.iter();
        let is_used = containers.any(|container| container.name == volume.name);
        volume.labels.contains_key(LABEL_AGENT) && !is_used
    });
    let volumes: Vec<Value> = volumes.map(docker_json::volume).collect();
    json!({"Volumes": volumes, "Warnings": null})
}

pub(super) fn find_volume(script: &Script, name: &str) -> Result<Value, Refusal> {
    let mut volumes = script.volumes.iter();
    let volume = volumes.find(|volume| volume.name == name);
    volume.map(docker_json::volume).ok_or_else(|| {
        let message = format!("get {name}: no such volume");
        Refusal::new(StatusCode::NOT_FOUND, message)
    })
}

/// An existing volume of the name is kept.
pub(super) fn create_volume(script: &mut Script, settings: &Value) -> Value {
    let name = settings["Name"].as_str().unwrap_or_default();
    if let Ok(existing) = find_volume(script, name) {
        return existing;
    }
    let labels = settings["Labels"].as_object().into_iter().flatten();
    let labels =
        labels.filter_map(|(label, value)| Some((label.clone(), value.as_str()?.to_owned())));
    let volume = Volume {
        name: name.to_owned(),
        labels: labels.collect(),
    };
    let answer = docker_json::volume(&volume);
    script.volumes.push(volume);
    answer
}

pub(super) fn remove_volume(script: &mut Script, name: &str) -> Result<(), Refusal> {
    find_volume(script, name)?;
    script.states.remove(name);
    script.volumes.retain(|volume| volume.name != name);
    Ok(())
}
