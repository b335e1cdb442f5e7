//! The description of a route, which stands beside its handler. Owns: what a description says, and the parameters
//! that several routes have. Does not own: the list of the routes (`routes`), the document that is made of them
//! (`document`).

use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::domain::words::words;

/// Makes the schema of a type, or a reference to it.
pub type MakeSchema = fn(&mut SchemaGenerator) -> Schema;

fn schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// One method of one path.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// The function that serves it.
    pub function: &'static str,
    /// The operation's name. It differs from the function's only if the function serves several.
    pub operation: &'static str,
    pub method: &'static str,
    /// As the gateway has it, with `{parameters}`.
    pub path: &'static str,
    pub tag: Tag,
    pub summary: &'static str,
    /// In Markdown; empty if the summary says everything.
    pub description: &'static str,
    pub caller: CallerKind,
    /// Whether the route is only for clients that were written for the earlier deployment.
    pub is_deprecated: bool,
    /// Without those of the path and `If-None-Match`, which follow from the path and the responses.
    pub parameters: &'static [Parameter],
    pub body: Option<RequestBody>,
    /// What a request may get that is not refused.
    pub responses: &'static [ResponseKind],
    /// The statuses of refusals, except those that follow from the caller, and 413, 500 and 503, which every
    /// route has.
    pub refusals: &'static [u16],
}

/// The groups that readers of the API see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    Agents,
    Jobs,
    Credits,
    Session,
    Admin,
    Cron,
    Meta,
}

words! {
    /// Who may call a route. The words are in the API's description, for clients that show what a caller may do.
    pub enum CallerKind {
        /// Anybody of an organization: 401 and 403 are possible.
        Reader = "reader",
        /// A member who handles agents, with a key that names `agents`, if with one.
        AgentManager = "agentManager",
        /// The same, and an owner of the organization.
        AgentOwner = "agentOwner",
        /// An owner of the organization, with a key that names `billing`, if with one.
        Owner = "owner",
        /// A super admin: 403 for every other caller.
        SuperAdmin = "superAdmin",
        /// A browser that signs in or out: 403 for an origin that is not allowed.
        Browser = "browser",
        /// A scheduler that holds the cron secret: 401.
        Scheduler = "scheduler",
        /// Anybody. The route reads nothing that could be unavailable.
        Anybody = "anybody",
    }
}

impl Route {
    const fn new(
        method: &'static str,
        function: &'static str,
        path: &'static str,
        tag: Tag,
        summary: &'static str,
    ) -> Self {
        Self {
            function,
            operation: function,
            method,
            path,
            tag,
            summary,
            description: "",
            caller: CallerKind::Reader,
            is_deprecated: false,
            parameters: &[],
            body: None,
            responses: &[],
            refusals: &[],
        }
    }

    #[must_use]
    pub const fn get(
        function: &'static str,
        path: &'static str,
        tag: Tag,
        summary: &'static str,
    ) -> Self {
        Self::new("GET", function, path, tag, summary)
    }

    #[must_use]
    pub const fn post(
        function: &'static str,
        path: &'static str,
        tag: Tag,
        summary: &'static str,
    ) -> Self {
        Self {
            caller: CallerKind::AgentManager,
            ..Self::new("POST", function, path, tag, summary)
        }
    }

    #[must_use]
    pub const fn patch(
        function: &'static str,
        path: &'static str,
        tag: Tag,
        summary: &'static str,
    ) -> Self {
        Self {
            caller: CallerKind::AgentManager,
            ..Self::new("PATCH", function, path, tag, summary)
        }
    }

    #[must_use]
    pub const fn delete(
        function: &'static str,
        path: &'static str,
        tag: Tag,
        summary: &'static str,
    ) -> Self {
        Self {
            caller: CallerKind::AgentOwner,
            ..Self::new("DELETE", function, path, tag, summary)
        }
    }
}

/// Where a parameter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location {
    Path,
    Query,
    Header,
}

#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    pub name: &'static str,
    pub location: Location,
    pub is_required: bool,
    pub description: &'static str,
    pub schema: MakeSchema,
    /// In JSON.
    pub example: &'static str,
}

impl Parameter {
    #[must_use]
    pub const fn query<T: JsonSchema>(name: &'static str, description: &'static str) -> Self {
        Self::new::<T>(Location::Query, name, description)
    }

    #[must_use]
    pub const fn header<T: JsonSchema>(name: &'static str, description: &'static str) -> Self {
        Self::new::<T>(Location::Header, name, description)
    }

    #[must_use]
    pub const fn path<T: JsonSchema>(name: &'static str, description: &'static str) -> Self {
        Self::new::<T>(Location::Path, name, description).required()
    }

    const fn new<T: JsonSchema>(
        location: Location,
        name: &'static str,
        description: &'static str,
    ) -> Self {
        Self {
            name,
            location,
            is_required: false,
            description,
            schema: schema_of::<T>,
            example: "",
        }
    }

    #[must_use]
    pub const fn required(mut self) -> Self {
        self.is_required = true;
        self
    }

    /// An example, in JSON.
    #[must_use]
    pub const fn example(mut self, json: &'static str) -> Self {
        self.example = json;
        self
    }
}

/// A JSON body of a request.
#[derive(Clone, Copy, Debug)]
pub struct RequestBody {
    pub is_required: bool,
    pub schema: MakeSchema,
    /// In JSON.
    pub example: &'static str,
}

impl RequestBody {
    /// A body that must be there. `example` is JSON.
    #[must_use]
    pub const fn required<T: JsonSchema>(example: &'static str) -> Self {
        Self {
            is_required: true,
            schema: schema_of::<T>,
            example,
        }
    }

    /// A body that may be left out. `example` is JSON.
    #[must_use]
    pub const fn optional<T: JsonSchema>(example: &'static str) -> Self {
        Self {
            is_required: false,
            ..Self::required::<T>(example)
        }
    }
}

/// A response to a request that was not refused.
#[derive(Clone, Copy, Debug)]
pub struct ResponseKind {
    pub status: u16,
    pub description: &'static str,
    pub content: Content,
    /// Whether a request whose `Accept` prefers `text/csv` gets the rows as CSV.
    pub is_also_csv: bool,
    /// Beside `X-Request-Id`.
    pub headers: &'static [ResponseHeader],
    pub links: &'static [Link],
    /// Whether the same status is also a refusal, whose body is a problem.
    pub is_also_refusal: bool,
    /// In JSON.
    pub example: &'static str,
}

#[derive(Clone, Copy, Debug)]
pub enum Content {
    Json(MakeSchema),
    /// Of this media type, not described further.
    Stream(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseHeader {
    /// The response has a version: a request with `If-None-Match` may get 304.
    ETag,
    Age,
    SetCookie,
}

/// An operation that a client may call next, with a value of the response as its parameter.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    pub name: &'static str,
    pub operation: &'static str,
    pub parameter: &'static str,
    /// A JSON pointer into the body.
    pub pointer: &'static str,
    pub description: &'static str,
}

impl ResponseKind {
    #[must_use]
    pub const fn json<T: JsonSchema>(status: u16, description: &'static str) -> Self {
        Self {
            status,
            description,
            content: Content::Json(schema_of::<T>),
            is_also_csv: false,
            headers: &[],
            links: &[],
            is_also_refusal: false,
            example: "",
        }
    }

    #[must_use]
    pub const fn stream(status: u16, media_type: &'static str, description: &'static str) -> Self {
        Self {
            status,
            description,
            content: Content::Stream(media_type),
            is_also_csv: false,
            headers: &[],
            links: &[],
            is_also_refusal: false,
            example: "",
        }
    }

    #[must_use]
    pub const fn with_etag(self) -> Self {
        self.with_headers(&[ResponseHeader::ETag])
    }

    /// The rows are also served as CSV.
    #[must_use]
    pub const fn or_csv(mut self) -> Self {
        self.is_also_csv = true;
        self
    }

    #[must_use]
    pub const fn with_headers(mut self, headers: &'static [ResponseHeader]) -> Self {
        self.headers = headers;
        self
    }

    #[must_use]
    pub const fn with_links(mut self, links: &'static [Link]) -> Self {
        self.links = links;
        self
    }

    /// The same status is also a refusal.
    #[must_use]
    pub const fn or_refused(mut self) -> Self {
        self.is_also_refusal = true;
        self
    }

    /// An example, in JSON.
    #[must_use]
    pub const fn example(mut self, json: &'static str) -> Self {
        self.example = json;
        self
    }
}

/// The link to the job that a response names.
pub const JOB_LINK: Link = Link {
    name: "job",
    operation: "job-get",
    parameter: "jobId",
    pointer: "/data/jobId",
    description: "Get the job.",
};
