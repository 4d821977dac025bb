"""What callers say on a connected socket and what comes back, in HTTP/1, HTTP/2 and plain bytes."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import h2.config
import h2.connection
import h2.events


@dataclass(frozen=True)
class Answer:
    """One answer. `trailers` are those of HTTP/2."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    trailers: Mapping[str, str]

    @property
    def said(self) -> Any:
        """What the application says of the request."""
        return json.loads(self.body)

    @property
    def pod(self) -> str:
        """Which pod answered; "" if no application did."""
        try:
            return str(self.said["pod"])
        except ValueError:
            return ""


def http1(
    connection: socket.socket,
    host: str,
    path: str = "/",
    /,
    version: str = "HTTP/1.1",
    body: bytes = b"",
    **headers: str,
) -> Answer:
    """One request on a connection that may be used again; with a body it is a POST."""
    lines = [f"{'POST' if body else 'GET'} {path} {version}"] + ([f"host: {host}"] if host else [])
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    lines += [f"content-length: {len(body)}"] if body else []
    connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode() + body)
    stream = connection.makefile("rb")
    first = stream.readline()
    if not first:
        raise EOFError("closed without an answer")
    said: dict[str, str] = {}
    while (line := stream.readline().strip()) != b"":
        name, _, value = line.decode("latin-1").partition(":")
        said[name.lower()] = value.strip()
    status = int(first.split(b" ")[1])
    return Answer(status, said, b"" if status < 200 else _body(stream, said), {})


def _body(stream: Any, headers: Mapping[str, str]) -> bytes:
    if headers.get("transfer-encoding") != "chunked":
        return bytes(stream.read(int(headers["content-length"])) if "content-length" in headers else stream.read())
    whole = b""
    while size := int(stream.readline().strip() or b"0", 16):
        whole += stream.read(size)
        stream.readline()
    stream.readline()
    return whole


def http2(connection: socket.socket, host: str, path: str = "/", /, body: bytes = b"", **headers: str) -> Answer:
    """One request on a fresh connection, with prior knowledge."""
    talk = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    talk.initiate_connection()
    fields = [(":method", "POST" if body else "GET"), (":scheme", "http"), (":authority", host), (":path", path)]
    fields += [(name.replace("_", "-"), value) for name, value in headers.items()]
    talk.send_headers(1, fields, end_stream=not body)
    if body:
        talk.send_data(1, body, end_stream=True)
    connection.sendall(talk.data_to_send())
    answer: dict[str, str] = {}
    trailers: dict[str, str] = {}
    content, ended = b"", False
    while not ended:
        data = connection.recv(65536)
        if not data:
            raise EOFError("closed without an answer")
        for event in talk.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                answer = dict(event.headers)
            elif isinstance(event, h2.events.DataReceived):
                content += event.data
            elif isinstance(event, h2.events.TrailersReceived):
                trailers = dict(event.headers)
            elif isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated):
                raise EOFError("reset")
            ended = ended or isinstance(event, h2.events.StreamEnded)
        connection.sendall(talk.data_to_send())
    return Answer(int(answer[":status"]), answer, content, trailers)


def line(connection: socket.socket, text: str) -> str:
    """What comes back for a line."""
    connection.sendall(text.encode() + b"\n")
    found = connection.makefile("rb").readline()
    if not found:
        raise EOFError("closed without an answer")
    return found.decode().strip()
