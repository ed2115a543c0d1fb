"""Models behind the two protocols of `trim_pomdp.runtime.protocols`, found by ``backend = "…"`` in a models file.

A backend is one module, importable without what it drives: it names the table that a models file may hold for a
generator (``GENERATOR``) and for a process reward model (``PRM``), subclasses of `ModelTable` that load the model;
None where it has no such thing. A backend from elsewhere is named by its module (``backend = "package.module"``).
"""

BACKENDS = {
    "dummy": "trim_pomdp.runtime.backends.dummy",
    "judge": "trim_pomdp.runtime.backends.judge",
    "openai": "trim_pomdp.runtime.backends.openai",
    "replay": "trim_pomdp.runtime.backends.replay",
    "scores-http": "trim_pomdp.runtime.backends.scores_http",
    "transformers": "trim_pomdp.runtime.backends.transformers",
    "vllm": "trim_pomdp.runtime.backends.vllm",
    "vllm-local": "trim_pomdp.runtime.backends.vllm_local",
    "vllm-prm": "trim_pomdp.runtime.backends.vllm_prm",
}
"""Modules of the backends, by name."""
