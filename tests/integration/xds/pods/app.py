"""The application of a pod: says on every port what it was spoken to, whatever that was. A process of its own.

HTTP/1 and HTTP/2 requests are answered with JSON (pod, protocol, method, path, headers), upgrades to WebSocket with 101
and everything back, gRPC calls with their own message and trailers, other bytes line by line. Two ports speak TLS.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from collections.abc import Mapping

import h2.config
import h2.connection
import h2.events

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
METHODS = (b"GET ", b"POST ", b"PUT ")
TLS_PORTS = (8443, 8444)
PORTS = (7070, 7071, 8080, 8081, 8082, 9000, 9001, 9090)


class App:
    """Answers in the name of one pod."""

    def __init__(self, pod: str) -> None:
        self.pod = pod

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        try:
            first = await reader.readexactly(4)
            if first == PREFACE[:4]:
                await self._http2(first, reader, writer)
            elif any(first.startswith(method) for method in METHODS):
                await self._http1(first, reader, writer)
            else:
                await self._lines(first, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _lines(self, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := first + await reader.readline():
            writer.write(f"{self.pod} {line.decode(errors='replace')}".encode())
            first = b""

    async def _http1(self, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first = b""
            line, *rest = head.split("\r\n")
            method, path, version = line.split(" ")
            headers = dict(part.lower().split(": ", 1) for part in rest if ": " in part)
            await reader.readexactly(int(headers.get("content-length", 0)))
            if headers.get("upgrade") == "websocket":
                writer.write(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\r\n")
                while data := await reader.read(4096):
                    writer.write(data)
                return
            body = self._answer(version, method, path, headers, writer)
            writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)

    def _answer(
        self, version: str, method: str, path: str, headers: Mapping[str, str], writer: asyncio.StreamWriter
    ) -> bytes:
        tls = writer.get_extra_info("ssl_object")
        said = {"pod": self.pod, "protocol": version, "method": method, "path": path, "headers": dict(headers)}
        return json.dumps({**said, "tls": tls is not None, "port": writer.get_extra_info("sockname")[1]}).encode()

    async def _http2(self, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        talk.initiate_connection()
        writer.write(talk.data_to_send())
        requests: dict[int, tuple[dict[str, str], bytes]] = {}
        data = first
        while data := data or await reader.read(65536):
            for event in talk.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    requests[event.stream_id] = dict(event.headers), b""
                elif isinstance(event, h2.events.DataReceived):
                    headers, body = requests[event.stream_id]
                    requests[event.stream_id] = headers, body + event.data
                    talk.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.StreamEnded):
                    self._respond(talk, event.stream_id, *requests.pop(event.stream_id), writer)
            data = b""
            writer.write(talk.data_to_send())

    def _respond(
        self,
        talk: h2.connection.H2Connection,
        stream: int,
        headers: dict[str, str],
        body: bytes,
        writer: asyncio.StreamWriter,
    ) -> None:
        kind = headers.get("content-type", "")
        if kind.startswith("application/grpc"):
            talk.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc"), ("x-pod", self.pod)])
            talk.send_data(stream, body)
            talk.send_headers(stream, [("grpc-status", "0"), ("x-trailer", self.pod)], end_stream=True)
            return
        plain = {name: value for name, value in headers.items() if not name.startswith(":")}
        text = self._answer("HTTP/2", headers[":method"], headers[":path"], plain, writer)
        talk.send_headers(stream, [(":status", "200"), ("content-length", str(len(text)))])
        talk.send_data(stream, text, end_stream=True)


async def main(pod: str, certificate: str, key: str) -> None:
    """Serve until killed."""
    app = App(pod)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["http/1.1"])
    for port in PORTS:
        await asyncio.start_server(app.serve, ["0.0.0.0", "::"], port)
    for port in TLS_PORTS:
        await asyncio.start_server(app.serve, ["0.0.0.0", "::"], port, ssl=context)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
