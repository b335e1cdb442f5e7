"""Compares the calls of AWS that the functions made during all tests with the policies of the template.

    check_privileges.py [--refused-only] template.yaml functions/parameters <calls>

<calls> is the file that the tests write if the variable AWS_CALLS names it (tests/dev/src/calls.rs). Fails if a function
made a call that its role does not allow, or if its role allows what it never called, unless NOT_CALLED says why. With
--refused-only, for when tests were skipped, rights that nothing uses are no failure.
"""

import json
import logging
import os
import sys
from fnmatch import fnmatchcase

import deployment

# What the functions may do although no test sees them do it: the function or "*", the action, what the resource's ARN
# contains, and why.
NOT_CALLED = [
    (
        "*",
        "secretsmanager:GetSecretValue",
        ":secret:milady/ssh-key",
        "read at the first connection to a host, in the tests from a file; tests/it/secrets.rs has"
        " the reading of such a key",
    ),
    (
        "*",
        "secretsmanager:GetSecretValue",
        ":secret:milady/registries",
        "read when a private image is pulled, as Headscale's key is, which a test reads",
    ),
    (
        "billing-hourly",
        "sqs:SendMessage",
        "-BillingFailures-",
        "Lambda itself sends events there that failed",
    ),
    (
        "billing-audit",
        "sqs:SendMessage",
        "-BillingFailures-",
        "Lambda itself sends events there that failed",
    ),
    (
        "notify",
        "sqs:SendMessage",
        "-MailFailures-",
        "Lambda itself sends events there that failed",
    ),
    (
        "fleet-refresh",
        "dynamodb:UpdateItem",
        ":table/",
        "the release before, which runs while the alias is shifted, has its lease there; to be removed with"
        " the next release",
    ),
]

# The managed policies that a function may have, and what needs them.
MANAGED = {
    "AWSLambdaBasicExecutionRole": "Lambda itself writes the log",
    "AWSLambdaVPCAccessExecutionRole": "Lambda itself makes the network interfaces",
    "AWSXrayWriteOnlyAccess": "Lambda itself sends the traces",
    "AWSLambdaSQSQueueExecutionRole": "Lambda itself polls the queues",
}


def as_list(value):
    return value if isinstance(value, list) else [value]


class Role:
    """A function in a stack, with what it may do."""

    def __init__(self, stack, resource):
        properties = stack.value(resource["Properties"])
        self.settings = properties.get("Environment", {}).get("Variables", {})
        role = stack.template["Resources"][resource["Properties"]["Role"]["Fn::GetAtt"][0]]
        role = stack.value(role["Properties"])
        self.managed = [arn.rsplit("/", 1)[-1] for arn in role.get("ManagedPolicyArns", [])]
        documents = [policy["PolicyDocument"] for policy in role.get("Policies", [])]
        self.statements = [
            statement for document in documents for statement in as_list(document["Statement"])
        ]
        self.stack = stack

    def arns(self, call):
        """The resources that a call names in this stack. Empty if the stack has none of them."""
        service = call["action"].split(":")[0]
        names = [self.settings[name] for name in call["settings"] if self.settings.get(name)]
        region = self.stack.pseudo["AWS::Region"]
        place = f"{region}:{deployment.ACCOUNT}"
        match service:
            case "dynamodb":
                return [f"arn:aws:dynamodb:{place}:table/{name}" for name in names]
            case "events":
                return [f"arn:aws:events:{place}:event-bus/{name}" for name in names]
            case "s3":
                return [f"arn:aws:s3:::{name}/key" for name in names]
            case "secretsmanager":
                return names
            case "ses":
                # An SMTP server sends the mails instead.
                if self.settings.get("SMTP_URL_ARN"):
                    return []
                domain = self.settings["MAIL_FROM"].rsplit("@", 1)[-1].rstrip(">")
                sets = [f"arn:aws:ses:{place}:configuration-set/{name}" for name in names]
                return [*sets, f"arn:aws:ses:{place}:identity/{domain}"]
        raise ValueError(f"{call['action']} is not known here")

    def allows(self, action, arn, leading_keys):
        matching = [
            statement["Effect"]
            for statement in self.statements
            if names(statement, action, arn) and is_met(statement.get("Condition", {}), leading_keys)
        ]
        return "Allow" in matching and "Deny" not in matching


def names(statement, action, arn):
    actions = as_list(statement["Action"])
    resources = as_list(statement["Resource"])
    return any(fnmatchcase(action.lower(), pattern.lower()) for pattern in actions) and any(
        fnmatchcase(arn, pattern) for pattern in resources
    )


def is_met(condition, leading_keys):
    for operator, keys in condition.items():
        for key, values in keys.items():
            values = as_list(values)
            match operator, key:
                case "ForAllValues:StringEquals", "dynamodb:LeadingKeys":
                    met = all(name in values for name in leading_keys)
                case "ForAllValues:StringLike", "dynamodb:LeadingKeys":
                    met = all(any(fnmatchcase(name, value) for value in values) for name in leading_keys)
                case _:
                    raise ValueError(f"the condition {operator} of {key} is not known here")
            if not met:
                return False
    return True


def roles(template, files):
    """The roles of each function in the stacks of both parameter files."""
    found = {}
    for file in ("minimal.toml", "complete.toml"):
        region, given = deployment.read_parameters(os.path.join(files, file))
        values, _ = deployment.with_defaults(template, given)
        texts = {
            key: ",".join(value) if isinstance(value, list) else value
            for key, value in values.items()
        }
        result = deployment.transformed(template, texts)
        stack = deployment.Stack(result, "milady", region, values)
        for logical, resource in template["Resources"].items():
            if resource["Type"] == "AWS::Serverless::Function":
                name = resource["Properties"]["CodeUri"].rstrip("/").rsplit("/", 1)[-1]
                role = Role(stack, result["Resources"][logical])
                found.setdefault(name, []).append(role)
    return found


def refused_calls(calls, roles_of):
    """Calls that no role allows, as messages. Adds to each call the resources that it names."""
    problems = []
    for call in calls:
        what = f"{call['function']}: {call['action']}"
        call["arns"] = []
        if "settings" not in call:
            problems.append(f"{what} of {call['resource']!r}, which no setting of the function names")
            continue
        if call["function"] not in roles_of:
            problems.append(f"{what}: the template has no such function")
            continue
        for role in roles_of[call["function"]]:
            arns = role.arns(call)
            call["arns"].append(arns)
            for arn in arns:
                if not role.allows(call["action"], arn, call.get("leadingKeys", [])):
                    keys = call.get("leadingKeys", [])
                    problems.append(f"{what} of {arn} {keys or ''} is not allowed")
        if not any(call["arns"]):
            problems.append(f"{what} of {call['settings']}, which the template sets nowhere")
    return problems


def unused_rights(calls, roles_of):
    """What roles allow and no function called, as messages, and reasons that nothing needs."""
    problems, needed, used = set(), set(), 0
    for function, stacks in roles_of.items():
        made = [call for call in calls if call["function"] == function and any(call["arns"])]
        for number, role in enumerate(stacks):
            for policy in role.managed:
                if policy not in MANAGED:
                    problems.add(f"{function} has the managed policy {policy}")
            for statement in role.statements:
                if statement["Effect"] != "Allow":
                    continue
                for action in as_list(statement["Action"]):
                    for resource in as_list(statement["Resource"]):
                        right = {"Action": action, "Resource": resource}
                        if any(
                            names(right, call["action"], arn)
                            for call in made
                            for arn in call["arns"][number]
                        ):
                            used += 1
                            continue
                        reasons = {
                            reason
                            for reason in NOT_CALLED
                            if reason[0] in ("*", function)
                            and reason[1] == action
                            and reason[2] in resource
                        }
                        needed |= reasons
                        if not reasons:
                            problems.add(f"{function} may {action} {resource}, and never does")
    problems |= {f"NOT_CALLED has {reason[:3]}, which nothing needs" for reason in NOT_CALLED if reason not in needed}
    return sorted(problems), used


def main():
    *options, path, files, recorded = sys.argv[1:]
    logging.disable(logging.CRITICAL)
    with open(recorded, encoding="utf-8") as file:
        calls = [json.loads(line) for line in sorted(set(file))]
    roles_of = roles(deployment.load(path), files)
    problems = refused_calls(calls, roles_of)
    unused, used = unused_rights(calls, roles_of)
    if options != ["--refused-only"]:
        problems += unused
    print(f"{len(calls)} distinct calls of {len({call['function'] for call in calls})} functions")
    print(f"{used} rights are used, and {len(NOT_CALLED)} kinds are not called for a reason:")
    for function, action, resource, reason in NOT_CALLED:
        print(f"  {function}: {action} of {resource}: {reason}")
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    sys.exit(1 if problems else 0)


main()
