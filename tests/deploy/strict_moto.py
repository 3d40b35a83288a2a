"""Runs `moto_server` with four rules of AWS that it lacks when it checks policies.

It gets the resources of calls to SNS and to CloudWatch Logs, since it knows only those of S3 and SQS. S3 answers 404
for a missing object only if the caller may list the bucket. And a batch call to SQS needs the right to the single call
(Amazon SQS Developer Guide, "Amazon SQS API permissions").
"""

from collections.abc import Callable
from typing import Any

from moto.iam.access_control import IAMRequestBase
from moto.logs.responses import LogsResponse
from moto.s3.exceptions import MissingKey
from moto.s3.responses import S3Response
from moto.server import main
from moto.sns.responses import SNSResponse


def topic(call: SNSResponse) -> str:
    return call._get_param("TopicArn") or "*"


def log_stream(call: LogsResponse) -> str:
    group, stream = call._get_param("logGroupName"), call._get_param("logStreamName")
    return f"arn:aws:logs:{call.region}:{call.current_account}:log-group:{group}:log-stream:{stream}"


def only_if_caller_may_list(find: Callable) -> Callable:
    def found(call: S3Response, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401
        try:
            answer = find(call, *arguments, **named)
            is_missing = isinstance(answer[0], int) and answer[0] == 404
        except MissingKey:
            check_listing(call)
            raise
        if is_missing:
            check_listing(call)
        return answer

    return found


def check_listing(call: S3Response) -> None:
    call.data["Action"] = "ListBucket"
    call._authenticate_and_authorize_s3_action(bucket_name=call.bucket_name)


def single_action(start: Callable) -> Callable:
    def started(request: IAMRequestBase, *arguments: Any, **named: Any) -> None:  # noqa: ANN401
        start(request, *arguments, **named)
        if request._service == "sqs":
            request._action = request._action.removesuffix("Batch")

    return started


IAMRequestBase.__init__ = single_action(IAMRequestBase.__init__)
SNSResponse._determine_resource = topic
LogsResponse._determine_resource = log_stream
S3Response._get_key = only_if_caller_may_list(S3Response._get_key)
S3Response.head_object = only_if_caller_may_list(S3Response.head_object)

if __name__ == "__main__":
    main()
