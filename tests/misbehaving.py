"""An OpenAI-compatible server on 127.0.0.1, in a thread, that answers as a script says: whole, late, half, wrong, or not at all."""

import asyncio
import contextlib
import json
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back. status 0: nothing at all; cut: only so many bytes of the body, then the end (reset: by RST); wait_s: before the answer; endless: no length is announced, the end of the connection is the end."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    reset: bool = False
    wait_s: float = 0.002
    endless: bool = False
    reason: str = "Whatever"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came: its seed and how often that seed has come before, how many were asked in all before, and what else was sent."""

    seed: int
    times: int
    number: int
    path: str
    headers: dict[str, str]
    body: dict


def whole(seed: int, **changes) -> dict:
    """The body of a good answer."""
    choice = {"index": 0, "message": {"role": "assistant", "content": f"reply {seed}"}, "finish_reason": "stop"}
    choice |= {"logprobs": {"content": [{"token": "reply", "logprob": -0.25}, {"token": "x", "logprob": -0.75}]}}
    return {"id": "x", "object": "chat.completion", "choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}} | changes


def good(asked: Asked) -> Answer:
    """The answer of a server in good health."""
    return Answer(body=json.dumps(whole(asked.seed)).encode())


def said(status: int, words: str, **options) -> Answer:
    """An error as vLLM writes it."""
    return Answer(status, json.dumps({"error": {"message": words, "type": "x", "code": status}}).encode(), **options)


class Misbehaving:
    """Use it in `with`; `behave` says what each request gets. asked: all chat requests; answered: seeds that got a whole answer; at_once: how many at each."""

    def __init__(self, behave: Callable[[Asked], Answer] = good, *, models: Answer | None = None) -> None:
        self.behave, self.asked, self.answered, self.at_once = behave, [], [], []
        self.models = models or Answer(body=json.dumps({"object": "list", "data": [{"id": "m", "created": 1, "root": "org/m", "max_model_len": 4096}]}).encode())
        self._busy = 0
        self._tasks: set[asyncio.Task] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> "Misbehaving":
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop).result()
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"
        return self

    def __exit__(self, *_) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def seeds(self) -> list[int]:
        """The seeds of all requests, in the order in which they came."""
        return [asked.seed for asked in self.asked]

    async def _stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._tasks.add(task)
        try:
            while await self._answer(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = json.loads(await reader.readexactly(int(headers.get("content-length", 0))) or b"{}")
        path = head[0].split()[1]
        if path.endswith("/models"):
            return await self._send(writer, self.models)
        self._busy += 1
        self.at_once.append(self._busy)
        asked = Asked(body["seed"], self.seeds().count(body["seed"]), len(self.asked), path, headers, body)
        self.asked.append(asked)
        try:
            answer = self.behave(asked)
            await asyncio.sleep(answer.wait_s)
        finally:
            self._busy -= 1
        if answer.status == 200 and answer.cut is None:
            self.answered.append(asked.seed)
        return await self._send(writer, answer)

    async def _send(self, writer: asyncio.StreamWriter, answer: Answer) -> bool:
        length = {} if answer.endless else {"Content-Length": str(len(answer.body))}
        headers = {"Content-Type": "application/json", **length, **answer.headers}
        if answer.endless:
            headers["Connection"] = "close"
        lines = [f"HTTP/1.1 {answer.status} {answer.reason}", *(f"{name}: {value}" for name, value in headers.items())]
        if answer.status:
            writer.write("\r\n".join([*lines, "", ""]).encode() + answer.body[: answer.cut])
        await writer.drain()
        if answer.reset:
            await asyncio.sleep(0.002)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        return answer.cut is None and not answer.reset and not answer.endless


def refused_url() -> str:
    """A URL on which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/v1"
