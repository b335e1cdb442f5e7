"""Checks what CloudFormation gets: the result of SAM's own transform, without an account.

    check_template.py <cfn-lint> template.yaml

Fails if SAM refuses the template, if cfn-lint has something against the result, or if the result comes close to a limit
of CloudFormation. cfn-lint on the template alone sees neither the roles, permissions and routes that SAM makes nor
their number.
"""

import json
import logging
import subprocess
import sys
import tempfile
from collections import Counter

import deployment

# CloudFormation allows 500 resources, 60 dynamic references, 200 parameters, 200 outputs and 1 MB of text.
MAX_RESOURCES = 450
MAX_DYNAMIC_REFERENCES = 55
MAX_PARAMETERS = 180
MAX_BYTES = 900_000


def values_of_parameters(template):
    """What a deployment gives: the defaults, and a text where there is none."""
    return {
        name: parameter.get("Default", f"value-of-{name}")
        for name, parameter in template.get("Parameters", {}).items()
    }


def lint(cfn_lint, text):
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        return subprocess.run([cfn_lint, "--template", file.name], check=False).returncode == 0


def main():
    cfn_lint, path = sys.argv[1:]
    logging.disable(logging.CRITICAL)
    template = deployment.load(path)
    result = deployment.transformed(template, values_of_parameters(template))
    text = json.dumps(result, indent=1)
    types = Counter(resource["Type"] for resource in result["Resources"].values())
    for kind, count in types.most_common():
        print(f"{count:4} {kind}")
    too_many = False
    for what, count, limit in [
        ("resources", len(result["Resources"]), MAX_RESOURCES),
        ("dynamic references", text.count("{{resolve:"), MAX_DYNAMIC_REFERENCES),
        ("parameters", len(result["Parameters"]), MAX_PARAMETERS),
        ("bytes", len(json.dumps(result).encode()), MAX_BYTES),
    ]:
        print(f"{count} {what}, of at most {limit}")
        too_many = too_many or count > limit
    sys.exit(0 if lint(cfn_lint, text) and not too_many else 1)


main()
