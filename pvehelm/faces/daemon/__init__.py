"""The reconciler: every release looked at on a clock, and set right as far as its policy allows."""
