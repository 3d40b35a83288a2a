"""`moto_server`, told three things of AWS that it leaves out where it checks policies.

Which resource a call to SNS or to the logs is about (it knows only S3's and SQS's), and that S3 tells of an absent
object only to those who may list its bucket.
"""

from collections.abc import Callable
from typing import Any

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


def only_to_those_who_may_list(find: Callable) -> Callable:
    def found(call: S3Response, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401
        try:
            answer = find(call, *arguments, **named)
            absent = isinstance(answer[0], int) and answer[0] == 404
        except MissingKey:
            check_listing(call)
            raise
        if absent:
            check_listing(call)
        return answer

    return found


def check_listing(call: S3Response) -> None:
    call.data["Action"] = "ListBucket"
    call._authenticate_and_authorize_s3_action(bucket_name=call.bucket_name)


SNSResponse._determine_resource = topic
LogsResponse._determine_resource = log_stream
S3Response._get_key = only_to_those_who_may_list(S3Response._get_key)
S3Response.head_object = only_to_those_who_may_list(S3Response.head_object)

if __name__ == "__main__":
    main()
