"""Models behind the two protocols of `trim_pomdp.runtime.protocols`."""
