"""What the verbs that ask models share: which models, which problems, which fitted model, and progress."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trim_pomdp.cli.output import progress_bar, warn
from trim_pomdp.errors import InputError

if TYPE_CHECKING:
    from trim_pomdp.data.problems import Problem
    from trim_pomdp.lab.problems import Family, Split
    from trim_pomdp.runtime.records import TerminalRecord
    from trim_pomdp.runtime.run import Progress
    from trim_pomdp.runtime.shards import Shard

LAB = "lab"
LAB_PROBLEMS = 100
DEFAULT_FAMILY = "loop"

MODELS_HELP = (
    "A models file has the tables [weak], [strong], [prm], each with a backend, or a module of one's own as backend. "
    "vllm: model, base_url (or a list), temperature (0.7), top_p (1), system_prompt, sampler ('auto', 'keyed', "
    "'seed'), tokenizer, end_token. vllm-prm: model, base_url, system_prompt, tokenizer, step_token. scores-http: url, "
    "name. openai (any server of that interface): model, base_url (or a list), api ('chat' or 'completions'), "
    "continuation ('instruct' asks for one step, 'prefill' goes on with the assistant's turn), prefill ('auto', "
    "'plain', 'continue', 'prefix': how), temperature (0.7), top_p (1), system_prompt, extra_body (more keys of every "
    "request); for completions template (a text with {prompt} in it) or tokenizer, where the server renders no "
    "prompts. judge (as [prm], a model asked whether the last step is right): model, base_url, api, question, yes, "
    "no, temperature (1), system_prompt, template, tokenizer, extra_body. All of these: api_key_env (name of a "
    "variable), max_in_flight (64), timeout_s (120), deadline_s (600), tries (4); of vLLM also server, for up. Every "
    "model: price, a table of input, cached (default: as input) and output per million tokens. transformers: model (a "
    "folder or hub name), temperature (0.7), top_p "
    "(1), dtype (auto), device (auto), system_prompt, max_batch (64). vllm-local (vLLM in this process): model, "
    "dtype, system_prompt, temperature, top_p, options (a table of arguments of vllm.LLM); as [prm] incremental "
    "(true: a score reads only what is new). replay: run (a folder). dummy: preset, or "
    "observations and "
    "dynamics; fault_probability, delay_s. [limits]: max_steps (30), max_step_tokens (512), max_strong_tokens, "
    "degenerate_steps (3), max_prompt_characters, on_failure ('fail', or 'weak' or 'strong' goes on "
    "alone). [steps]: separator ('blank-line', 'newline', or how a step's first line begins), thinking ('route' or "
    "'one-step'), keep_blocks. Above the tables: checker ('math', 'exact' or 'package.module:function'), "
    "currency."
)

ModelsOption = Annotated[str, typer.Option("--models", help="The lab's models ('lab'), or a models file (TOML).")]
FamilyOption = Annotated[
    str | None, typer.Option("--family", help="Lab problems: chain, loop, mixed or wordy (default: loop).")
]
ProblemsOption = Annotated[
    str | None,
    typer.Option("--problems", help="With the lab: how many (default: 100). Else: a problem set."),
]
FolderOption = Annotated[Path, typer.Option("--out", help="Folder to write to.")]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on with what --out holds; what failed stays failed.")]
ShardOption = Annotated[
    str | None, typer.Option("--shard", help="i/n: every n-th problem, from the i-th on; then trim-pomdp merge.")
]
InFlightOption = Annotated[int, typer.Option("--in-flight", min=1, help="Problems under way at once.")]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", min=1, help="Cores for models in this process (default: 1 for the lab).")
]


def read_shard(text: str | None) -> Shard | None:
    """The part of the job that is asked for; None for all of it.

    Raises
    ------
    InputError
        If it is none.
    """
    from trim_pomdp.runtime.shards import Shard

    if text is None:
        return None
    try:
        return Shard.parse(text)
    except InputError as error:
        raise InputError(f"--shard: {error}") from None


def use_threads(models: str, threads: int | None) -> None:
    """Limit the cores of torch, if so many are asked for; the lab's source does so itself."""
    from trim_pomdp.lab.models import use_cores

    if threads is not None and models != LAB:
        use_cores(threads)


def read_family(models: str, family: str | None) -> Family | None:
    """The lab's family; None with other models.

    Raises
    ------
    InputError
        If there is no such family, or one is named with other models.
    """
    from trim_pomdp.lab.problems import parse_family

    if models == LAB:
        return parse_family(family or DEFAULT_FAMILY)
    if family is not None:
        raise InputError("--family is of the lab's problems; it goes with --models lab")
    return None


def lab_or_file_problems(
    family: Family | None, problems: str | None, split: Split, seed: int, layout: str | None = None
) -> list[Problem]:
    """So many problems of a family, from the split that the verb may reach; or those of a problem set.

    Raises
    ------
    InputError
        If the option is of the wrong kind for the models, or the file is not right.
    """
    from trim_pomdp.data.problems import read_problems
    from trim_pomdp.lab.problems import draw

    if family is None:
        if problems is None:
            raise InputError("--problems FILE.jsonl is needed: what should the models of --models solve?")
        if problems.isdecimal() and not Path(problems).exists():
            raise InputError(f"--problems is {problems}; models of one's own need a problem set (JSONL)")
        return read_problems(problems, layout=layout, tell=warn)
    if layout is not None:
        raise InputError("--layout is of a problem set; the lab draws its own problems")
    count = str(LAB_PROBLEMS) if problems is None else problems
    if not count.isdecimal() or int(count) < 1:
        raise InputError(f"--problems is {problems!r}; the lab draws its own, so give how many, at least 1")
    return draw(family, split, seed, int(count))


@contextmanager
def resumable() -> Iterator[None]:
    """Say how to go on when Ctrl-C ends the work."""
    try:
        yield
    except KeyboardInterrupt:
        warn("interrupted; what was done is kept: the same command with --resume goes on")
        raise


@contextmanager
def solving_bar(title: str, total: int) -> Iterator[Progress]:
    """A bar that shows how many problems have ended, and failed (no accuracy yet: short solutions end first)."""
    failed = 0
    with progress_bar(title, total) as show:

        def tell(done: int, _: int, terminal: TerminalRecord) -> None:
            nonlocal failed
            failed += terminal.error is not None
            show(done, f"{failed} failed" if failed else "")

        yield tell
