"""Logits processors that make a vLLM server draw the tokens that the models in this process would.

.. code-block:: bash

    vllm serve MODEL --generation-config vllm --logits-processors trim_pomdp.servers.keyed:KeyedSampler

A request with ``"vllm_xargs": {"trim_key": "<16 hex digits>:<offset>"}`` (`trim_pomdp.servers.draws`) is drawn by
its key; one without is sampled as usual. Needs vLLM, torch, numpy and this package's files, nothing else.

vLLM has two model runners with interfaces of their own. `KeyedSampler` is for the first, which is the only one on
CPUs; on GPUs with Triton the second is the default, for which there is `KeyedSamplerV2`, unless the server is started
with ``VLLM_USE_V2_MODEL_RUNNER=0``, as `trim-pomdp up` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vllm.v1.sample.logits_processor.interface import BatchUpdate, LogitsProcessor
from vllm.v1.worker.gpu.sample.logits_processor import LogitsContext, LogitsProcRequestState
from vllm.v1.worker.gpu.sample.logits_processor import LogitsProcessor as LogitsProcessorV2

from trim_pomdp.servers.draws import Draw, Rows, force

if TYPE_CHECKING:
    import torch
    from vllm import SamplingParams
    from vllm.config import VllmConfig


class KeyedSampler(LogitsProcessor):
    """Keyed draws for the model runner V1.

    It stands among the processors that do not change the likeliest token, which come after penalties and temperature;
    what they leave is sampled, and one token is left. Requests at temperature 0 are not touched. Token indices are
    the lengths of vLLM's lists of output tokens: right under chunked prefill, where nothing is appended before the
    prompt is read, under asynchronous scheduling, where placeholders are, and after preemption.
    """

    @classmethod
    def validate_params(cls, sampling_params: SamplingParams) -> None:
        """Refuse malformed keys; vLLM answers with status 400."""
        Draw.of(sampling_params)

    def __init__(self, vllm_config: VllmConfig, device: torch.device, is_pin_memory: bool) -> None:
        self._rows = Rows()

    def is_argmax_invariant(self) -> bool:
        """See `LogitsProcessor`."""
        return True

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """See `LogitsProcessor`."""
        self._rows.update(batch_update)

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """Leave one token in every keyed row."""
        self._rows.force(logits)
        return logits


class KeyedSamplerV2(LogitsProcessorV2):
    """Keyed draws for the model runner V2, which asks before the temperature.

    Tested as a class on tensors, against vLLM's own interface; the runner itself needs a GPU.
    """

    @classmethod
    def validate_params(cls, sampling_params: SamplingParams) -> None:
        """Refuse malformed keys; vLLM answers with status 400."""
        Draw.of(sampling_params)

    def __init__(self, vllm_config: VllmConfig, req_states: LogitsProcRequestState) -> None:
        if vllm_config.speculative_config is not None:
            raise ValueError("keyed sampling knows no speculative decoding")
        self._prompt_lengths = req_states.prompt_len.np
        self._draws: dict[int, Draw] = {}

    def add_request(self, req_idx: int, sampling_params: SamplingParams) -> bool:
        """See `LogitsProcessor`."""
        draw = Draw.of(sampling_params)
        if draw is None:
            self._draws.pop(req_idx, None)
        else:
            self._draws[req_idx] = draw
        return draw is not None

    def apply(self, logits: torch.Tensor, ctx: LogitsContext) -> torch.Tensor:
        """Leave one token in every keyed row."""
        # Without speculative decoding a request has one row, in the order of the batch, and lengths are exact.
        slots = ctx.idx_mapping_np.tolist()
        rows = [row for row, slot in enumerate(slots) if slot in self._draws]
        if rows:
            keyed = [slots[row] for row in rows]
            # Of a prompt that is read in pieces nothing is kept before its end.
            written = (ctx.seq_lens_upper_bound_np[rows] - self._prompt_lengths[keyed]).clip(min=0)
            force(logits, rows, [self._draws[slot] for slot in keyed], written.tolist(), tempered=False)
        return logits
