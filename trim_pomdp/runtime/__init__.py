"""The engine that routes real generations: state machine, scheduler, policies at run time, traces, backends."""
