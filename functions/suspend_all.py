"""Suspends every agent that has a container, of all organizations, before a deployment is torn down.

    URL=https://cloud.example.com KEY=eliza_.. python3 functions/suspend_all.py "The cloud closes on 1 December"

KEY is an operator's. The owners read the reason. Each agent's state is saved first, if it can be read. The command ends
when no agent is left, or after `--minutes`; then it prints what is left and fails. It may be repeated at any time.
"""

import argparse
import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

# The statuses of agents that have, or may have, a container.
STATUSES = ("running", "disconnected", "provisioning", "error")
PAGE = 100
ATTEMPTS = 5


class Refused(Exception):
    """The API refuses a request for good."""

    def __init__(self, status, text):
        super().__init__(f"{status}: {text}")
        self.status = status


class Api:
    def __init__(self, url, key):
        self.base = url.rstrip("/") + "/api/v1/admin"
        self.key = key

    def call(self, path, body=None):
        """The JSON of the answer. What may pass is repeated: a refusal for a rate, a failure, a lost connection."""
        headers = {"X-API-Key": self.key, "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        for attempt in range(1, ATTEMPTS + 1):
            request = urllib.request.Request(self.base + path, data, headers)
            try:
                with urllib.request.urlopen(request, timeout=35) as response:
                    return json.load(response)
            except urllib.error.HTTPError as error:
                text = message(error)
                if error.code not in (429, 500, 502, 503, 504) or attempt == ATTEMPTS:
                    raise Refused(error.code, text) from error
                pause = int(error.headers.get("Retry-After") or attempt)
            except OSError as error:
                if attempt == ATTEMPTS:
                    sys.exit(f"{self.base} does not answer: {error}")
                pause = attempt
            time.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def agents(self):
        """The agents that have, or may have, a container."""
        found = {}
        for status in STATUSES:
            cursor = None
            while True:
                query = {"status": status, "limit": PAGE, **({"cursor": cursor} if cursor else {})}
                page = self.call("/docker-containers?" + urllib.parse.urlencode(query))
                rows = page["data"]["containers"]
                # An agent in error whose row names no container has none.
                found.update((row["id"], row) for row in rows if status != "error" or row["containerName"])
                cursor = page.get("nextCursor")
                if not cursor:
                    break
        return list(found.values())


def message(error):
    """What the answer says, or else its status."""
    try:
        return json.load(error)["error"]
    except (ValueError, KeyError, TypeError, OSError):
        return error.reason


def suspend_all(api, reason, deadline, pause):
    """Suspends the agents in rounds. Returns those that are left, and why each was refused."""
    accepted, refused = set(), {}
    while True:
        left = api.agents()
        new = [agent for agent in left if agent["id"] not in accepted]
        for number, agent in enumerate(new, 1):
            try:
                api.call(f"/agents/{agent['id']}/suspend", {"reason": reason})
                accepted.add(agent["id"])
                refused.pop(agent["id"], None)
            except Refused as error:
                # The agent is being started or deleted, or is gone: the next round looks again.
                if error.status not in (404, 409):
                    raise
                refused[agent["id"]] = str(error)
            if number % 100 == 0:
                print(f"  {number} of {len(new)} requested", flush=True)
        print(f"{len(left)} agents left; {len(accepted)} suspensions accepted", flush=True)
        if not left or time.monotonic() >= deadline:
            return left, refused
        time.sleep(min(pause, max(0.0, deadline - time.monotonic())))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("reason", help="what the owners are told, at most 300 characters")
    parser.add_argument("--minutes", type=float, default=60, help="when to give up (60)")
    parser.add_argument("--pause", type=float, default=15, help="seconds between two rounds (15)")
    options = parser.parse_args()
    url, key = os.environ.get("URL"), os.environ.get("KEY")
    if not url or not key:
        parser.error("set URL to the address of the deployment and KEY to an operator's API key")
    deadline = time.monotonic() + options.minutes * 60
    try:
        left, refused = suspend_all(Api(url, key), options.reason, deadline, options.pause)
    except Refused as error:
        sys.exit(str(error))
    for agent in left:
        why = refused.get(agent["id"], "its stop is not done")
        print(f"{agent['id']} of {agent['organizationName']} on {agent['nodeId']}, {agent['status']}: {why}")
    if left:
        sys.exit(f"{len(left)} agents are left; repeat the command")


if __name__ == "__main__":
    main()
