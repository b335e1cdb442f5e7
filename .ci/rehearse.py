"""Creates the stack in moto's CloudFormation, with the parameter files of the guide, without an account.

    rehearse.py template.yaml functions/parameters

Three stacks live in one account: the two files, and the complete one again under another name. It prints what moto
created. moto skips the types that it does not know; each needs an entry in CHECKED_BY, which says what checks it
instead. Fails if a parameter or a rule refuses a file, if a rule accepts what it is there to refuse, if moto refuses a
resource, if a skipped type has no entry, or if two stacks have a resource of the same name.
"""

import io
import json
import logging
import os
import re
import subprocess
import sys
import warnings
import zipfile
from collections import Counter

import deployment

# What checks the types that moto skips. cfn-lint checks the properties of all of them (check_template.py), and the names
# are compared here. The tests are in tests/.
CHECKED_BY = {
    "AWS::ApiGatewayV2::Api": ["template_has_exactly_the_described_routes"],
    "AWS::ApiGatewayV2::Stage": [],
    "AWS::CloudFront::Distribution": [
        "f99_streams_pages_and_api_share_a_domain_and_nothing_is_cached",
        "f99_only_requests_through_the_distribution_are_answered",
    ],
    "AWS::CloudWatch::Alarm": [
        "every_alarm_has_a_runbook_and_every_runbook_an_alarm",
        "f101_an_alarm_about_silence_fills_the_gaps",
        "f100_names_and_metrics_differ_from_stack_to_stack",
    ],
    "AWS::CodeDeploy::Application": [],
    "AWS::CodeDeploy::DeploymentGroup": [
        "five_functions_are_shifted_gradually_and_errors_of_their_new_version_shift_them_back"
    ],
    "AWS::Events::ApiDestination": [
        "product_events_go_to_posthog_and_only_the_connection_knows_its_key"
    ],
    "AWS::Events::Connection": ["f96_only_cloudfront_and_the_connection_copy_a_secret"],
    "AWS::Lambda::Alias": [
        "five_functions_are_shifted_gradually_and_errors_of_their_new_version_shift_them_back"
    ],
    "AWS::Lambda::EventInvokeConfig": [
        "f101_asynchronous_events_have_an_age_limit_and_undelivered_ones_a_queue"
    ],
    "AWS::Lambda::Url": ["f99_only_requests_through_the_distribution_are_answered"],
    "AWS::S3::BucketPolicy": [],
    "AWS::SES::ConfigurationSet": ["ses_drops_no_mail_because_of_a_complaint_about_another_one"],
    "AWS::SES::ConfigurationSetEventDestination": [],
    "AWS::SQS::QueuePolicy": [],
    "AWS::Scheduler::Schedule": [
        "sample_events_match_the_routes_schedules_and_rules_of_the_template",
        "f100_names_and_metrics_differ_from_stack_to_stack",
    ],
}

# What each rule is there to refuse, as a change of the complete parameters.
REFUSED = {
    "DomainNeedsCertificate": {"CertificateArn": ""},
    "FrontNeedsDomain": {"DomainName": ""},
    "SubnetsNeedSecurityGroups": {"SecurityGroupIds": ""},
    "SecurityGroupsNeedSubnets": {
        "SubnetIds": "",
        "RouteTableIds": "",
        "SecretsManagerEndpoint": "absent",
    },
    "RouteTablesNeedVpc": {"VpcId": "", "SecretsManagerEndpoint": "absent"},
    "EndpointNeedsVpc": {"VpcId": "", "RouteTableIds": ""},
    "PrivyNeedsKey": {"PrivyAppId": "app"},
    "HeadscaleNeedsKey": {"HeadscaleApiKeySecretArn": ""},
    "ReplicaNeedsBackupBucket": {"BackupBucketName": ""},
}

# Identifying properties that name something else than the resource, or name it inside another one only.
NOT_ITS_NAME = {
    "AWS::ApiGatewayV2::Stage": {"StageName"},
    "AWS::EC2::VPCEndpoint": {"ServiceName"},
    "AWS::Lambda::Alias": {"Name"},
}


def prepare(template, files):
    """The stacks: their names, regions and values."""
    region, minimal = deployment.read_parameters(os.path.join(files, "minimal.toml"))
    other_region, complete = deployment.read_parameters(os.path.join(files, "complete.toml"))
    assert region == other_region, "moto creates the stacks in one region"
    # A name of a bucket, a domain and a VPC's endpoints belong to one stack.
    again = {"BackupBucketName": "example-other-backups", "DomainName": "other.example.com"}
    again |= {"VpcId": "vpc-1b2c3d4e", "RouteTableIds": "rtb-2a1b3c4d"}
    return region, {
        "milady": complete,
        "milady-test": complete | again,
        "small": minimal,
    }


def check_rules(template, region, complete):
    problems = []
    for name in template["Rules"]:
        values, refused = deployment.with_defaults(template, complete | REFUSED.get(name, {}))
        violated = deployment.Stack(template, "milady", region, values).violated_rules()
        if refused or violated != [name]:
            problems.append(f"the rule {name} refuses nothing of its own: {refused or violated}")
    return problems


def names(stack, schema_of):
    """The names that a stack gives its resources, by type and property."""
    found = {}
    for logical, resource in stack.resources().items():
        kind = resource["Type"]
        if kind.startswith("Custom::"):
            continue
        schema = schema_of(kind)
        identifying = set()
        for key in ["primaryIdentifier", "createOnlyProperties"]:
            identifying |= {path.split("/")[-1] for path in schema.get(key, [])}
        for key in identifying - NOT_ITS_NAME.get(kind, set()):
            given = resource.get("Properties", {}).get(key)
            if isinstance(given, str) and (key.endswith("Name") or key in ("Bucket", "Name")):
                found[(kind, key, given)] = logical
        aliases = resource.get("Properties", {}).get("DistributionConfig", {}).get("Aliases", [])
        found |= {(kind, "an alias", alias): logical for alias in aliases}
    return found


def colliding_names(stacks):
    from cfnlint.schema import PROVIDER_SCHEMA_MANAGER

    def schema_of(kind):
        return PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", kind).schema

    problems, taken = [], {}
    for name, stack in stacks.items():
        for key, logical in names(stack, schema_of).items():
            # Resources of a stack may share a name, such as the permissions of a function.
            owner = taken.setdefault(key, name)
            if owner != name:
                problems.append(f"{owner} and {name} both have {key}, as {logical}")
    return problems


def without_skipped(stack, known):
    """The template without the types that moto does not know, which has texts where it refers to them, and how many there
    are of each type."""
    skipped = {
        name: resource["Type"]
        for name, resource in stack.template["Resources"].items()
        if resource["Type"] not in known and not resource["Type"].startswith("Custom::")
    }

    def replaced(json):
        if isinstance(json, list):
            return [part for part in map(replaced, json) if part is not deployment.NoValue]
        if not isinstance(json, dict):
            return json
        if len(json) == 1:
            ((function, argument),) = json.items()
            # moto leaves a hole in a list where a condition leaves something out.
            if function == "Fn::If":
                return replaced(argument[1] if stack.condition(argument[0]) else argument[2])
            if json == {"Ref": "AWS::NoValue"}:
                return deployment.NoValue
            # moto knows no aliases, and looks for what invokes a function.
            if function == "Ref" and skipped.get(argument) == "AWS::Lambda::Alias":
                alias = stack.template["Resources"][argument]["Properties"]
                return {"Fn::GetAtt": [alias["FunctionName"]["Ref"], "Arn"]}
            if function == "Ref" and argument in skipped:
                return stack.reference(argument)
            if function == "Fn::GetAtt" and argument[0] in skipped:
                return stack.attribute(*argument)
            if function == "Fn::Sub":
                text = argument if isinstance(argument, str) else argument[0]
                if any(re.search(rf"\$\{{{name}[.}}]", text) for name in skipped):
                    return stack.substitute(argument)
        parts = {key: replaced(part) for key, part in json.items()}
        return {key: part for key, part in parts.items() if part is not deployment.NoValue}

    template = dict(stack.template)
    there = {name for name in skipped if stack.condition(stack.template["Resources"][name].get("Condition"))}
    template["Resources"] = {
        name: replaced(resource)
        for name, resource in stack.template["Resources"].items()
        if name not in skipped
    }
    template["Outputs"] = {
        name: replaced(output)
        for name, output in stack.template["Outputs"].items()
        if stack.condition(output.get("Condition"))
    }
    return template, Counter(skipped[name] for name in there)


def long_descriptions(stack):
    """Lambda allows 256 characters, which no linter knows of values of parameters."""
    return [
        f"the description of {name} is too long"
        for name, resource in stack.resources().items()
        if resource["Type"] == "AWS::Lambda::Version"
        and len(resource["Properties"].get("Description", "")) > 256
    ]


def code():
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("bootstrap", "")
    return archive.getvalue()


def network(client, number):
    """Creates the VPC that the complete parameters name. Returns what it is called here."""
    vpc = client.create_vpc(CidrBlock=f"10.{number}.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        client.create_subnet(VpcId=vpc, CidrBlock=f"10.{number}.{zone}.0/24")["Subnet"]["SubnetId"]
        for zone in (0, 1)
    ]
    group = client.create_security_group(VpcId=vpc, GroupName="functions", Description="functions")
    table = client.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    return {
        "VpcId": vpc,
        "SubnetIds": ",".join(subnets),
        "SecurityGroupIds": group["GroupId"],
        "RouteTableIds": table,
    }


def create(stacks, region, texts):
    """Creates all stacks in one account. Returns how many resources of which type were created and skipped."""
    import boto3
    from moto import mock_aws, settings
    from moto.cloudformation.models import cloudformation_backends
    from moto.cloudformation.parsing import get_model_map
    from moto.events.models import EventBus

    # It would ask Docker.
    settings.moto_server_host = lambda: "http://localhost"
    # moto does not know what `Ref` of a bus is.
    EventBus.physical_resource_id = property(lambda bus: bus.name)
    created, skipped, problems = Counter(), Counter(), []
    with mock_aws(config={"lambda": {"use_docker": False}}):
        store = boto3.client("s3", region)
        store.create_bucket(
            Bucket=deployment.CODE_BUCKET, CreateBucketConfiguration={"LocationConstraint": region}
        )
        store.put_object(Bucket=deployment.CODE_BUCKET, Key=deployment.CODE_KEY, Body=code())
        client = boto3.client("cloudformation", region)
        for number, (name, stack) in enumerate(stacks.items()):
            template, unknown = without_skipped(stack, get_model_map())
            skipped += unknown
            given = texts[name]
            if given["VpcId"]:
                given = given | network(boto3.client("ec2", region), number)
            given = [{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()]
            # It is larger than what an API call may hold, so it is in the bucket, as SAM does it.
            store.put_object(
                Bucket=deployment.CODE_BUCKET, Key=f"{name}.json", Body=json.dumps(template).encode()
            )
            try:
                client.create_stack(
                    StackName=name,
                    TemplateURL=f"https://{deployment.CODE_BUCKET}.s3.amazonaws.com/{name}.json",
                    Parameters=given,
                    Capabilities=["CAPABILITY_IAM"],
                )
            except Exception as error:  # moto raises what it likes.
                problems.append(f"moto refused {name}: {type(error).__name__}: {error}")
                continue
            # As db-migrate answers once it has migrated.
            made = cloudformation_backends[deployment.ACCOUNT][region].get_stack(name)
            for resource in made.custom_resources.values():
                resource.set_data({})
            made.verify_readiness()
            status = client.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]
            if status != "CREATE_COMPLETE":
                problems.append(f"{name} is {status}")
            resources = client.get_paginator("list_stack_resources").paginate(StackName=name)
            found = [part for page in resources for part in page["StackResourceSummaries"]]
            # It lists what a condition leaves out, without a type.
            found = [part for part in found if part["ResourceType"]]
            created += Counter(resource["ResourceType"] for resource in found)
            missing = set(stack.resources()) - {part["LogicalResourceId"] for part in found}
            kinds = {stack.template["Resources"][part]["Type"] for part in missing}
            if lost := kinds - set(unknown):
                problems.append(f"moto did not create the {sorted(lost)} of {name}")
    return created, skipped, problems


def check_coverage(skipped):
    """Each skipped type needs an entry, and each test of an entry must be there."""
    problems = [f"{kind} is skipped, and nothing checks it" for kind in skipped if kind not in CHECKED_BY]
    problems += [f"{kind} is not skipped" for kind in CHECKED_BY if kind not in skipped]
    for test in {test for tests in CHECKED_BY.values() for test in tests}:
        found = subprocess.run(["grep", "-rqE", rf"fn {test}\(", "tests"], check=False)
        if found.returncode != 0:
            problems.append(f"there is no test {test}")
    return problems


def main():
    path, files = sys.argv[1:]
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    template = deployment.load(path)
    region, given = prepare(template, files)
    problems = check_rules(template, region, given["milady"])
    stacks, texts = {}, {}
    for name, parameters in given.items():
        values, refused = deployment.with_defaults(template, parameters)
        problems += [f"{name}: {problem}" for problem in refused]
        texts[name] = {
            key: ",".join(value) if isinstance(value, list) else value
            for key, value in values.items()
        }
        result = deployment.transformed(template, texts[name])
        stacks[name] = deployment.Stack(result, name, region, values)
        problems += [f"{name} violates the rule {rule}" for rule in stacks[name].violated_rules()]
        problems += long_descriptions(stacks[name])
    problems += colliding_names(stacks)
    created, skipped, refusals = create(stacks, region, texts)
    problems += refusals + check_coverage(skipped)
    print(f"Created in {len(stacks)} stacks of one account: {', '.join(stacks)}")
    for kind, count in created.most_common():
        print(f"{count:4} {kind}")
    print("Skipped by moto, and checked by")
    for kind, count in skipped.most_common():
        print(f"{count:4} {kind}: {', '.join(['cfn-lint', *CHECKED_BY.get(kind, [])])}")
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    sys.exit(1 if problems else 0)


main()
