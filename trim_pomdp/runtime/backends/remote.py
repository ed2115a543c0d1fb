"""What the tables of served models have in common: where the servers are, how long they are waited for, and the key."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt

from trim_pomdp.errors import InputError
from trim_pomdp.runtime.backends.base import ModelTable, Place
from trim_pomdp.runtime.backends.prompts import LocalRenderer, Openings, Renderer, VllmRenderer
from trim_pomdp.runtime.backends.served import ServerTable
from trim_pomdp.runtime.files import fingerprint
from trim_pomdp.runtime.findings import Finding
from trim_pomdp.runtime.http import BadReplyError, Patience, RefusedError, ServerError, Service
from trim_pomdp.runtime.loops import run_to_end
from trim_pomdp.runtime.protocols import Usage
from trim_pomdp.runtime.stepping import SYSTEM_PROMPT

# A run should not wait long for a server that is not there when it begins.
FIRST_PATIENCE = Patience(timeout_s=30.0, deadline_s=10.0, tries=4)
_NOT_THERE = {"cannot connect", "connection lost", "HTTP 503"}
_API = "/v1"
# What says where and how a model is asked, and not what it is.
_PLACE = {"api_key_env", "max_in_flight", "timeout_s", "deadline_s", "tries", "base_url", "server"}


def _checked_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        shown = "this" if "@" in url else repr(url)
        raise ValueError(f"{shown} is no URL; expected something like http://127.0.0.1:8000/v1")
    if parts.username is not None or parts.password is not None or parts.query:
        raise ValueError("a URL holds no key and no query; name the environment variable of a key by api_key_env")
    return url


Url = Annotated[str, AfterValidator(_checked_url)]


def root_of(url: str) -> str:
    """A server's address without the path of the API."""
    return url.rstrip("/").removesuffix(_API).rstrip("/")


class Connection(ModelTable):
    """How a served model is reached. None of it defines a run.

    Attributes
    ----------
    api_key_env : str or None
        Name of the environment variable that holds the key.
    max_in_flight : int
        Requests at once, for each URL.
    timeout_s, deadline_s, tries
        See `trim_pomdp.runtime.http.Patience`.
    """

    api_key_env: str | None = Field(default=None, pattern=r"^[A-Za-z_]\w*$")
    max_in_flight: PositiveInt = 64
    timeout_s: PositiveFloat = 120.0
    deadline_s: PositiveFloat = 600.0
    tries: PositiveInt = 4

    def config(self, folder: Path) -> dict[str, Any]:
        """See `ModelTable`: what is asked, not where it runs and how long it is waited for."""
        return self.model_dump(mode="json", exclude=_PLACE)

    def connect(self, place: Place, urls: list[str]) -> Service:
        """The service behind these URLs.

        Raises
        ------
        InputError
            If the environment variable of the key is not set.
        """
        key = None
        if self.api_key_env is not None and not (key := os.environ.get(self.api_key_env, "").strip()):
            raise InputError(f"{place.table}: the environment variable {self.api_key_env} (api_key_env) is not set")
        patience = Patience(self.timeout_s, self.deadline_s, self.tries, self.max_in_flight)
        return Service(place.table, urls, patience, key)


class OverHttp:
    """A model behind a `Service` (a `ServedModel`)."""

    service: Service

    @property
    def facts(self) -> Mapping[str, Any]:
        """See `ServedModel`."""
        return {}

    @property
    def faults(self) -> Mapping[str, int]:
        """See `ServedModel`."""
        return self.service.faults

    async def close(self) -> None:
        """Close the connections."""
        await self.service.close()


class RemoteTable(Connection):
    """A model behind servers that know it by name.

    Attributes
    ----------
    model : str
        The name that the servers know it by; for one that is started from a folder, the folder.
    base_url : str, list of str or None
        Where the servers are, with or without ``/v1``; None in a file that `trim-pomdp up` starts servers from.
    server : ServerTable or None
        How `trim-pomdp up` starts them.
    """

    model: str = Field(min_length=1)
    base_url: Url | Annotated[list[Url], Field(min_length=1)] | None = None
    server: ServerTable | None = None

    @property
    def title(self) -> str:
        """See `ModelTable`."""
        return Path(self.model).name

    @property
    def urls(self) -> list[str]:
        """Roots of the servers."""
        listed = [self.base_url] if isinstance(self.base_url, str) else self.base_url or []
        return [root_of(url) for url in listed]

    def config(self, folder: Path) -> dict[str, Any]:
        """See `ModelTable`."""
        files = folder / self.model
        return {**super().config(folder), "files": fingerprint(files) if files.is_dir() else None}

    def service(self, place: Place) -> Service:
        """The service of the table.

        Raises
        ------
        InputError
            If it names no URL, or the environment variable of its key is not set.
        """
        if not self.urls:
            raise InputError(f"{place.table}: base_url is missing; where is the server? (trim-pomdp up starts some)")
        return self.connect(place, self.urls)


class ServedByVllm(RemoteTable):
    """What vLLM's generators and process reward models have in common.

    Attributes
    ----------
    system_prompt : str or False
        First message; "" or false leaves it out.
    tokenizer : str or None
        Folder or hub name of the tokenizer that renders prompts; None: the server does.
    """

    system_prompt: str | Literal[False] = SYSTEM_PROMPT
    tokenizer: str | None = None

    def openings(self, service: Service, place: Place) -> Openings:
        """Prompts of this model."""
        return Openings(self._renderer(service, place), self.system_prompt or None)

    def _renderer(self, service: Service, place: Place) -> Renderer:
        if self.tokenizer is None:
            return VllmRenderer(service, self.model)
        return local_renderer(self.tokenizer, place)


def local_renderer(tokenizer: str, place: Place) -> LocalRenderer:
    """A renderer of a tokenizer's folder, seen from the models file, or hub name.

    Raises
    ------
    InputError
        If there is no such tokenizer, or no package that reads it.
    """
    folder = place.folder / tokenizer
    try:
        return LocalRenderer(folder if folder.is_dir() else tokenizer)
    except ImportError:
        raise InputError(
            f"{place.table}: tokenizer needs torch and transformers; pip install '.[lab]' in the checkout brings them"
        ) from None


def require_there(service: Service, path: str, model: str | None = None) -> None:
    """Ask for something, whatever is said of it; of a list of models, whether the model is among them.

    Raises
    ------
    InputError
        If there is no server, it does not take the key, or it tells which models it has, and not this one.
    """
    asked = replace(service, patience=FIRST_PATIENCE)

    async def ask() -> None:
        try:
            known = await asked.get(path, _names)
        except RefusedError as error:
            if error.status == 401:
                raise InputError(str(error)) from None
        except ServerError as error:
            if asked.faults and set(asked.faults) <= _NOT_THERE:
                raise InputError(str(error)) from None
        else:
            if model is not None and known and model not in known:
                raise InputError(f"{service.name}: the server has {', '.join(known)}, not {model} (model)")
        finally:
            await asked.close()

    run_to_end(ask())


def _names(reply: Any) -> list[str]:
    """Names of the models in a list of them; none in anything else."""
    listed = reply.get("data") if isinstance(reply, dict) else None
    return [item["id"] for item in listed or () if isinstance(item, dict) and isinstance(item.get("id"), str)]


async def served(service: Service, model: str, needed: int) -> list[Finding]:
    """What the server says of the model: whether it serves it, and whether so many tokens have room."""
    listed = await service.get("/v1/models", lambda reply: {item["id"]: item for item in reply["data"]})
    if model not in listed:
        names = ", ".join(listed)
        return [Finding("model", "bad", f"the server has {names}, not {model}", "name it as the server does (model)")]
    found = [Finding("model", "good", f"served as {model}")]
    room = listed[model].get("max_model_len")
    if room is not None:
        told = f"{room} tokens; a solution and one more step took up to {needed}"
        fits = needed <= room
        remedy = "" if fits else "raise --max-model-len, or lower [limits] max_steps, max_step_tokens"
        found.append(Finding("context length", "good" if fits else "bad", told, remedy))
    return found


def usage_of(reply: Any) -> Usage:
    """Tokens as a reply of an OpenAI-compatible server counts them."""
    usage = reply["usage"]
    details = usage.get("prompt_tokens_details") or {}
    counts = int(usage["prompt_tokens"]), int(details.get("cached_tokens") or 0), int(usage["completion_tokens"])
    if min(counts) < 0:
        raise BadReplyError(f"tokens are counted as {counts}")
    return Usage(*counts)
