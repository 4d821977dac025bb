"""A gRPC client that finds its servers by xDS: for every line it reads it makes a call and prints the answer."""

from __future__ import annotations

import sys

import grpc

PATIENCE_SECONDS = 5.0


def main(target: str) -> None:
    """Call `target` once for each line of the input; the answer, or the status and its details."""
    with grpc.insecure_channel(target) as channel:
        call = channel.unary_unary("/test.Names/Get")
        for _ in sys.stdin:
            try:
                answer = call(b"", timeout=PATIENCE_SECONDS).decode()
            except grpc.RpcError as error:
                answer = f"{error.code().name} {error.details()}"
            sys.stdout.write(answer.replace("\n", " ") + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
