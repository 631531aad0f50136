"""Python runs this at the start of each process of the local AWS, as LocalAws puts it on the path.

Each function then records its calls to AWS, with the IAM actions that its role would need on AWS. The local
AWS checks no permissions, and its CloudTrail does not name the caller.
"""

import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

_TABLE = re.compile(r'(INSERT|UPDATE|DELETE|SELECT)\b[^"]*"([^"]+)"')


def needed(service: str, operation: str, asked: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The actions of one call, each with its resource as an ARN ends."""
    match service, operation:
        case "dynamodb", "BatchExecuteStatement":
            for statement in asked["Statements"]:
                verb, table = _TABLE.match(statement["Statement"]).groups()  # type: ignore[union-attr]
                yield f"PartiQL{verb.capitalize()}", f"table/{table}"
        case "dynamodb", "TransactWriteItems" | "TransactGetItems":
            for item in asked["TransactItems"]:
                for action, part in item.items():  # Put, Update, Delete, ConditionCheck, Get
                    yield f"{action}Item", f"table/{part['TableName']}"
        case "dynamodb", "BatchGetItem" | "BatchWriteItem":
            for table in asked["RequestItems"]:
                yield operation, f"table/{table}"
        case "dynamodb", _:
            yield operation, f"table/{asked['TableName']}"
        case "lambda", "Invoke":
            yield "InvokeFunction", f"function:{asked['FunctionName']}"
        case "sqs", _:
            yield operation.removesuffix("Batch"), asked["QueueUrl"].rpartition("/")[2]
        case "ssm", _:
            yield operation, f"parameter{asked['Name']}"
        case _:
            yield operation, "?"  # which no statement covers: say here how its resource is named


def record_calls(function: str, file: str) -> None:
    """Have this process record each call before it is made."""
    from botocore.session import Session

    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    *_, region, account = os.environ["_LAMBDA_FUNCTION_ARN"].split(":")[:5]

    def record(params: Mapping[str, Any], model: Any, **_: object) -> None:
        service, operation = model.service_model.signing_name, model.name
        prefix = f"arn:aws:{service}:{region}:{account}:"
        actions = {(f"{service}:{name}", prefix + of) for name, of in needed(service, operation, params)}
        line = {"at": time.time(), "function": function, "operation": operation, "actions": [*actions]}
        os.write(descriptor, json.dumps(line).encode() + b"\n")  # at once, so lines don't mix

    create_client = Session.create_client

    def create_recorded(*arguments: Any, **options: Any) -> Any:
        client = create_client(*arguments, **options)
        client.meta.events.register("provide-client-params", record)
        return client

    Session.create_client = create_recorded  # type: ignore[method-assign]


if "RECORDED_CALLS" in os.environ and "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
    record_calls(
        os.environ["AWS_LAMBDA_FUNCTION_NAME"], f"{os.environ['TMPDIR']}/{os.environ['RECORDED_CALLS']}"
    )
