"""What CloudFormation gets and makes of it, without an account: the result of SAM's own transform, and the values of its
intrinsic functions for a stack of a name and parameters.
"""

import copy
import os
import re
import tomllib

os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")
# SAM would ask an account for the managed policies.
os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")

from samtranslator.translator.transform import transform  # noqa: E402
from samtranslator.yaml_helper import yaml_parse  # noqa: E402

ACCOUNT = "123456789012"
# Where the artifacts are, as `sam package` leaves it.
CODE_BUCKET, CODE_KEY = "artifacts", "code.zip"


class NoManagedPolicies:
    """The template names managed policies by their ARNs alone."""

    def load(self):
        return {}


def load(path):
    with open(path, encoding="utf-8") as file:
        return yaml_parse(file.read())


def transformed(template, values):
    """The result of SAM's transform for these values of parameters."""
    template = copy.deepcopy(template)
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = f"s3://{CODE_BUCKET}/{CODE_KEY}"
    return transform(template, values, NoManagedPolicies())


def read_parameters(path):
    """The region and the values of a file in the format of the SAM CLI."""
    with open(path, "rb") as file:
        settings = tomllib.load(file)["default"]["deploy"]["parameters"]
    values = dict(value.split("=", 1) for value in settings["parameter_overrides"])
    return settings["region"], {name: unquoted(name, value) for name, value in values.items()}


def unquoted(name, value):
    """A value as the SAM CLI reads it: without its quotes. It would cut one without quotes at the first space."""
    if len(value) > 1 and value[0] == value[-1] == '"':
        return value[1:-1]
    assert value and not re.search(r'[\s"]', value), f"{name} needs quotes around its value"
    return value


def with_defaults(template, given):
    """The values of all parameters, lists as lists, and what CloudFormation would refuse."""
    values, problems = {}, []
    for name in given:
        if name not in template["Parameters"]:
            problems.append(f"{name} is no parameter")
    for name, parameter in template["Parameters"].items():
        value = given.get(name, parameter.get("Default"))
        if value is None:
            problems.append(f"{name} has no value")
            continue
        text = str(value)
        is_list = parameter["Type"] == "CommaDelimitedList"
        parts = text.split(",") if is_list else [text]
        values[name] = parts if is_list else text
        if not all(is_allowed(parameter, part) for part in parts):
            problems.append(f"{name} may not be {text}")
    return values, problems


def is_allowed(parameter, text):
    if pattern := parameter.get("AllowedPattern"):
        if not re.search(pattern, text):
            return False
    if allowed := parameter.get("AllowedValues"):
        if text not in map(str, allowed):
            return False
    if parameter["Type"] == "Number":
        number = float(text)
        if not parameter.get("MinValue", number) <= number <= parameter.get("MaxValue", number):
            return False
    return parameter.get("MinLength", 0) <= len(text) <= parameter.get("MaxLength", 4096)


class NoValue:
    """What `AWS::NoValue` leaves out."""


# What `Ref` of a resource is, other than a name that CloudFormation makes up.
NAMES = {
    "AWS::DynamoDB::Table": "TableName",
    "AWS::Events::EventBus": "Name",
    "AWS::Logs::LogGroup": "LogGroupName",
    "AWS::S3::Bucket": "BucketName",
    "AWS::SES::ConfigurationSet": "Name",
    "AWS::SQS::Queue": "QueueName",
}
# The forms of ARNs that policies name.
ARNS = {
    "AWS::DynamoDB::Table": "dynamodb:{region}:{account}:table/{name}",
    "AWS::Events::EventBus": "events:{region}:{account}:event-bus/{name}",
    "AWS::Lambda::Function": "lambda:{region}:{account}:function:{name}",
    "AWS::SQS::Queue": "sqs:{region}:{account}:{name}",
}


class Stack:
    """A transformed template with the values of a stack of this name."""

    def __init__(self, template, name, region, values):
        self.template = template
        self.values = values
        self.pseudo = {
            "AWS::StackName": name,
            "AWS::Region": region,
            "AWS::AccountId": ACCOUNT,
            "AWS::Partition": "aws",
            "AWS::URLSuffix": "amazonaws.com",
            "AWS::StackId": f"arn:aws:cloudformation:{region}:{ACCOUNT}:stack/{name}/1",
            "AWS::NoValue": NoValue,
        }

    def resources(self):
        """The resources that there are under the parameters, with their values."""
        return {
            name: self.value(resource)
            for name, resource in self.template["Resources"].items()
            if self.condition(resource.get("Condition"))
        }

    def violated_rules(self):
        """The rules for combinations of parameters that the values violate."""
        violated = []
        for name, rule in self.template.get("Rules", {}).items():
            if self.value(rule.get("RuleCondition", True)):
                assertions = rule["Assertions"]
                if not all(self.value(assertion["Assert"]) for assertion in assertions):
                    violated.append(name)
        return violated

    def condition(self, name):
        return name is None or self.value(self.template["Conditions"][name])

    def reference(self, name):
        if name in self.pseudo:
            return self.pseudo[name]
        if name in self.values:
            return self.values[name]
        resource = self.template["Resources"][name]
        if resource["Type"] == "AWS::Lambda::Alias":
            alias = resource["Properties"]
            function = self.attribute(alias["FunctionName"]["Ref"], "Arn")
            return f"{function}:{alias['Name']}"
        given = resource.get("Properties", {}).get(NAMES.get(resource["Type"]))
        return self.value(given) if given else f"{self.pseudo['AWS::StackName']}-{name}-1A2B3C"

    def attribute(self, name, attribute):
        resource = self.template["Resources"][name]
        region = self.pseudo["AWS::Region"]
        if attribute == "Arn":
            form = ARNS.get(resource["Type"], "made-up:{region}:{account}:{name}")
            form = form.format(region=region, account=ACCOUNT, name=self.reference(name))
            return f"arn:aws:{form}"
        if attribute == "FunctionUrl":
            return f"https://{name.lower()}.lambda-url.{region}.on.aws/"
        return f"{self.reference(name)}.{attribute}"

    def substitute(self, argument):
        text, names = (argument, {}) if isinstance(argument, str) else argument

        def replace(match):
            name = match.group(1)
            if name in names:
                return str(self.value(names[name]))
            if "." in name:
                return str(self.attribute(*name.split(".", 1)))
            return str(self.reference(name))

        return re.sub(r"\$\{([^!}][^}]*)\}", replace, text)

    def value(self, json):
        """JSON with the values of its intrinsic functions."""
        if isinstance(json, list):
            values = [self.value(part) for part in json]
            return [value for value in values if value is not NoValue]
        if not isinstance(json, dict):
            return json
        if len(json) == 1:
            ((function, argument),) = json.items()
            match function:
                case "Ref":
                    return self.reference(argument)
                case "Condition" if isinstance(argument, str):
                    return self.condition(argument)
                case "Fn::GetAtt":
                    parts = argument.split(".", 1) if isinstance(argument, str) else argument
                    return self.attribute(*parts)
                case "Fn::Sub":
                    return self.substitute(argument)
                case "Fn::If":
                    chosen = argument[1] if self.condition(argument[0]) else argument[2]
                    return self.value(chosen)
                case _ if function.startswith("Fn::"):
                    return self.call(function, self.value(argument))
        values = {key: self.value(part) for key, part in json.items()}
        return {key: value for key, value in values.items() if value is not NoValue}

    @staticmethod
    def call(function, argument):
        match function:
            case "Fn::Join":
                return argument[0].join(map(str, argument[1]))
            case "Fn::Split":
                return argument[1].split(argument[0])
            case "Fn::Select":
                return argument[1][int(argument[0])]
            case "Fn::Equals":
                return argument[0] == argument[1]
            case "Fn::Not":
                return not argument[0]
            case "Fn::And":
                return all(argument)
            case "Fn::Or":
                return any(argument)
            case "Fn::Contains":
                return argument[1] in argument[0]
        raise ValueError(f"{function} is not known here")
