"""Calls every route and every function through `cargo lambda watch`. Run by .ci/lambda_watch.

`cargo dev` provides the database with the demo organizations, the bus and the cache. A function has answered for itself
if the answer has a request id and a status that the API's description names, or if its event did not fail. What
`cargo lambda watch` answers on its own, such as for a route that its table lacks, has no such id.
"""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import tomllib
import uuid
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

WORKSPACE = Path(__file__).resolve().parent.parent
TARGET = (WORKSPACE / os.environ.get("CARGO_TARGET_DIR", "target")).resolve()
DIRECTORY = TARGET / "lambda-watch"
ENVIRONMENT = os.environ | {"CARGO_TARGET_DIR": str(TARGET)}

# Of the owner of the demo organization, who is also an operator, and of the scheduler: those of every local stack.
KEY = "eliza_" + "d0" * 32
CRON_SECRET = "dev-cron-secret"

TIME_LIMIT = 20 * 60
# A function answers within 28 s; `cargo run` needs a few to see that nothing is to be compiled.
CALL_TIMEOUT = 45
START_TIMEOUT = 60
STOP_TIMEOUT = 60
# Functions per `cargo lambda watch`. Each takes an inotify instance, of which Linux allows a user 128, and connections to
# the database, of which the functions' role has 90.
BATCH = 30
METHODS = ("get", "post", "put", "patch", "delete")


class Failure(Exception):
    """What keeps everything else from being tried."""


class Call(NamedTuple):
    name: str
    method: str
    path: str
    headers: dict
    body: str | None = None
    # The statuses that the function may answer with; None for an event.
    statuses: tuple | None = None


class Answer(NamedTuple):
    status: int
    headers: dict
    body: bytes


class Process:
    """A program that writes to a log. It has a session of its own, so that Ctrl-C reaches it only through `stop`."""

    def __init__(self, name, arguments, directory=WORKSPACE):
        self.name = name
        self.log = DIRECTORY / f"{name}.log"
        with open(self.log, "ab") as log:
            self.start_of_log = log.tell()
            self.process = subprocess.Popen(
                arguments,
                cwd=directory,
                env=ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_until(self, is_ready, limit):
        end = time.monotonic() + limit
        while not is_ready():
            if self.process.poll() is not None:
                raise Failure(f"{self.name} ended with {self.process.returncode}:\n{self.tail(self.start_of_log)}")
            if time.monotonic() > end:
                raise Failure(f"{self.name} did not start within {limit} s:\n{self.tail(self.start_of_log)}")
            time.sleep(0.2)

    def output(self):
        """What this process has logged."""
        with open(self.log, "rb") as log:
            log.seek(self.start_of_log)
            return log.read().decode(errors="replace")

    def tail(self, start):
        """The last lines of the log after this position."""
        with open(self.log, "rb") as log:
            log.seek(start)
            lines = log.read().decode(errors="replace").splitlines()
        return "\n".join(f"    {line[:300]}" for line in lines[-8:])

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Watch(Process):
    """`cargo lambda watch`, as functions/README.md starts it. A function that outlives it ends at its next call of it."""

    def __init__(self, cargo_lambda, port):
        arguments = [cargo_lambda, "lambda", "watch", "--ignore-changes", "--manifest-path", "../Cargo.toml"]
        arguments += ["--env-file", DIRECTORY / "functions.env"]
        arguments += ["--invoke-address", "127.0.0.1", "--invoke-port", str(port)]
        super().__init__("watch", arguments, WORKSPACE / "functions/src")
        self.port = port


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def is_listening(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def operations(document):
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield method.upper(), path, item[method]


def differences(document, rows, functions):
    """How the table of `cargo lambda watch` differs from the API's routes and the package's functions."""
    routes = {(method, path, operation["x-function"]) for method, path, operation in operations(document)}
    listed = {(method, row["path"], row["function"]) for row in rows for method in row.get("methods", [])}
    problems = [f"no row has {method} {path} of {name}" for method, path, name in sorted(routes - listed)]
    problems += [f"no route is {method} {path} of {name}" for method, path, name in sorted(listed - routes)]
    missing = {row["function"] for row in rows} - set(functions)
    problems += [f"functions/src/bin/ has no {name}, which a row names" for name in sorted(missing)]
    events = {path.stem for path in (WORKSPACE / "events").glob("*.json")}
    problems += [f"events/ has no event of {name}" for name in functions if name not in events]
    return problems


class Requests:
    """Makes requests from the API's description."""

    def __init__(self, document, origin):
        self.document = document
        self.origin = origin
        # Only reads name an agent that exists, so that no request changes what another one needs.
        self.agent = None

    def of(self, method, path, operation):
        """The route's request, and the same without a credential if the route needs one."""
        name = f"{method} {path}"
        headers, query = {}, {}
        for parameter in map(self.resolved, operation.get("parameters", [])):
            if parameter["in"] == "path":
                path = path.replace(f"{{{parameter['name']}}}", self.identifier(method, parameter))
            elif parameter.get("required"):
                values = headers if parameter["in"] == "header" else query
                values[parameter["name"]] = self.value(parameter)
        body = None
        if "requestBody" in operation:
            body = json.dumps(operation["requestBody"]["content"]["application/json"]["example"])
            headers["Content-Type"] = "application/json"
        if query:
            path += "?" + urlencode(query)
        statuses = tuple(int(status) for status in operation["responses"] if status != "500")
        credential = self.credential(operation)
        yield Call(name, method, path, headers | credential, body, statuses)
        if credential:
            yield Call(f"{name} without a key", method, path, headers, body, (401,))

    def resolved(self, parameter):
        if "$ref" in parameter:
            return self.document["components"]["parameters"][parameter["$ref"].rpartition("/")[2]]
        return parameter

    def identifier(self, method, parameter):
        if method == "GET" and parameter["name"] == "agentId" and self.agent:
            return self.agent
        return str(parameter["example"])

    def value(self, parameter):
        match parameter["name"]:
            case "Origin":
                return self.origin
            case "Idempotency-Key":
                return str(uuid.uuid4())
        return str(parameter["example"])

    @staticmethod
    def credential(operation):
        schemes = {name for scheme in operation.get("security", []) for name in scheme}
        if "cronSecret" in schemes:
            return {"Authorization": f"Bearer {CRON_SECRET}"}
        return {"X-API-Key": KEY} if schemes else {}


def invocation(function):
    event = (WORKSPACE / "events" / f"{function}.json").read_text()
    path = f"/2015-03-31/functions/{function}/invocations"
    return Call(f"the event of {function}", "POST", path, {"Content-Type": "application/json"}, event)


def send(port, call, timeout):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    with contextlib.closing(connection):
        connection.request(call.method, call.path, call.body, call.headers)
        response = connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, response.read())


def problem_of_response(answer, statuses):
    """What is wrong with the answer to a request, if anything."""
    if "x-request-id" not in answer.headers:
        return f"the function did not answer: {shown(answer.body)}"
    if answer.status not in statuses:
        return f"expected {', '.join(map(str, statuses))}: {shown(answer.body)}"
    is_json = answer.headers.get("content-type", "").split(";")[0] in ("application/json", "application/problem+json")
    if is_json and parsed(answer.body) is None:
        return f"the body is not JSON: {shown(answer.body)}"
    return None


def problem_of_event(answer):
    """What is wrong with the result of an event, if anything."""
    if answer.headers.get("lambda-runtime-function-response-mode") == "streaming":
        response = answer
    elif answer.status != 200:
        # The hour of the sample event may be ahead of this machine's clock.
        return None if b"60 s ahead" in answer.body else f"the function failed: {shown(answer.body)}"
    else:
        result = parsed(answer.body)
        if not isinstance(result, dict) or "statusCode" not in result:
            return None
        headers = {name.lower(): value for name, value in result.get("headers", {}).items()}
        response = Answer(result["statusCode"], headers, answer.body)
    if "x-request-id" not in response.headers or response.status == 500:
        return f"the function's response is {response.status}: {shown(answer.body)}"
    return None


def parsed(body):
    try:
        return json.loads(body)
    except ValueError:
        return None


def shown(body):
    return body[:300].decode(errors="replace")


class Run:
    """Makes the calls, and prints a line for each."""

    def __init__(self):
        self.end = time.monotonic() + TIME_LIMIT
        self.calls = 0
        self.failures = []
        # Functions that did not answer: each further call would wait as long.
        self.silent = set()

    def call(self, watch, function, call):
        """The answer, unless there is none or it is wrong."""
        self.calls += 1
        time_left = self.end - time.monotonic()
        if time_left <= 0:
            return self.fail(call, f"not tried within {TIME_LIMIT // 60} minutes")
        if function in self.silent:
            return self.fail(call, f"not tried, because {function} does not answer")
        start_of_log = watch.log.stat().st_size
        started = time.monotonic()
        try:
            answer = send(watch.port, call, min(CALL_TIMEOUT, time_left))
        except (OSError, http.client.HTTPException) as error:
            self.silent.add(function)
            return self.fail(call, f"no answer: {error!r}\n{watch.tail(start_of_log)}")
        milliseconds = round((time.monotonic() - started) * 1000)
        if call.statuses is None:
            problem = problem_of_event(answer)
        else:
            problem = problem_of_response(answer, call.statuses)
        print(f"{answer.status} {milliseconds:6} ms  {call.name}", flush=True)
        if problem:
            return self.fail(call, f"{problem}\n{watch.tail(start_of_log)}")
        return answer

    def fail(self, call, problem):
        print(f"FAILED {call.name}: {problem}", flush=True)
        self.failures.append(call.name)

    def function(self, watch, function, document, requests):
        for method, path, operation in operations(document):
            if operation["x-function"] == function:
                for call in requests.of(method, path, operation):
                    self.call(watch, function, call)
        if function == "not-found":
            self.call(watch, function, Call("the default route", "GET", "/api/no/such/route", {}, None, (404,)))
        self.call(watch, function, invocation(function))


def first_agent(run, watch):
    call = Call("the agents' list", "GET", "/api/v1/milady/agents", {"X-API-Key": KEY}, None, (200,))
    answer = run.call(watch, "agent-list", call)
    return answer and parsed(answer.body)["data"][0]["id"]


def serve(stack, cargo_lambda, port):
    watch = stack.enter_context(stopping(Watch(cargo_lambda, port)))
    watch.wait_until(lambda: is_listening(port), START_TIMEOUT)
    return watch


@contextlib.contextmanager
def stopping(process):
    try:
        yield process
    finally:
        process.stop()


def main(cargo_lambda):
    document = json.loads((WORKSPACE / "shared/src/api/openapi.json").read_text())
    manifest = tomllib.loads((WORKSPACE / "Cargo.toml").read_text())
    rows = manifest["workspace"]["metadata"]["lambda"]["watch"]["router"]
    functions = sorted(path.stem for path in (WORKSPACE / "functions/src/bin").glob("*.rs"))
    if problems := differences(document, rows, functions):
        raise Failure("\n".join([*problems, "Run `cargo prepare`, which writes the table and the events."]))
    print(f"The table of `cargo lambda watch` has all {sum(1 for _ in operations(document))} routes.", flush=True)

    # Otherwise each function's first call would wait until it is compiled and linked.
    build = ["cargo", "build", "--locked", "--package", "functions"]
    if subprocess.run(build, cwd=WORKSPACE, env=ENVIRONMENT, check=False).returncode != 0:
        raise Failure("The functions cannot be built.")

    DIRECTORY.mkdir(parents=True, exist_ok=True)
    for log in DIRECTORY.glob("*.log"):
        log.unlink()
    run = Run()
    with contextlib.ExitStack() as stack:
        port = free_port()
        arguments = ["cargo", "dev", "--no-host", "--no-sim", "--no-dashboard", "--fresh"]
        dev = Process("dev", [*arguments, "--port", str(port), "--data", DIRECTORY])
        stack.enter_context(stopping(dev))
        dev.wait_until(lambda: "The functions' settings are in " in dev.output(), TIME_LIMIT)
        requests = Requests(document, f"http://127.0.0.1:{port}")
        for start in range(0, len(functions), BATCH):
            with contextlib.ExitStack() as batch:
                watch = serve(batch, cargo_lambda, free_port())
                requests.agent = requests.agent or first_agent(run, watch)
                for function in functions[start : start + BATCH]:
                    run.function(watch, function, document, requests)
    for name in run.failures:
        print(f"failed: {name}")
    print(f"{run.calls} calls of {len(functions)} functions, {len(run.failures)} failed; the logs are in {DIRECTORY}")
    return 1 if run.failures else 0


if __name__ == "__main__":
    # So that the processes end, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(main(str(Path(sys.argv[1]).absolute())))
    except Failure as failure:
        sys.exit(str(failure))
