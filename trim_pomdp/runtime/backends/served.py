"""How the server of a table is started: ``[weak.server]``, ``[strong.server]``, ``[prm.server]`` of a models file.

Only `trim-pomdp up` reads it (`trim_pomdp.servers`); a run asks the server at ``base_url``, whoever started it.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, PositiveInt, model_validator

from trim_pomdp.artifacts import Record

KEYED_SAMPLER = "trim_pomdp.servers.keyed:KeyedSampler"
"""The logits processor that draws by keys, as vLLM imports it; `KEYED_SAMPLER_V2` for its model runner V2."""
KEYED_SAMPLER_V2 = "trim_pomdp.servers.keyed:KeyedSamplerV2"


class ServerTable(Record):
    """What `trim-pomdp up` has to know of a vLLM server, beside the model itself.

    Attributes
    ----------
    arguments : tuple of str
        Options of vLLM's server, one word each, as ``["--max-model-len", "4096"]``; they go after those that `up`
        gives on its own, and before model and port.
    devices : tuple of str
        ``CUDA_VISIBLE_DEVICES`` of every server, so as many servers as there are entries: ``["0", "1"]`` are two on a
        GPU each, ``["0,1"]`` is one on both. Empty for a machine without GPUs, or for all of them.
    replicas : int
        Servers of this model where `devices` does not say it.
    environment : dict of str
        More environment variables.
    port : int or None
        Port of the first server, those of its replicas follow; None takes any that is free.
    start_s : float
        Seconds that a server may take until it is ready.
    """

    arguments: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    replicas: PositiveInt = 1
    environment: dict[str, str] = {}
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    start_s: Annotated[float, Field(gt=0.0)] = 1800.0

    @model_validator(mode="after")
    def _replicas_fit_devices(self) -> Self:
        if self.devices and self.replicas not in (1, len(self.devices)):
            raise ValueError(f"replicas is {self.replicas} where devices has {len(self.devices)} entries; leave it out")
        if self.port is not None and self.port + self.count - 1 > 65535:
            raise ValueError(f"port is {self.port} where there are {self.count} servers; the last port is 65535")
        return self

    @property
    def count(self) -> int:
        """Servers of this table."""
        return len(self.devices) or self.replicas
