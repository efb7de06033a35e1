"""Structure-aware fuzzing of everything that parses a drive.

::

    python -m tests.fuzz --images 10000 [--seed 1] [--jobs 2]

An *image* is a base (``bases``), some bytes of it replaced and perhaps its end cut off; it follows
from a seed and a number alone (``campaign``). Mutators (``mutators``) know the formats well enough to
keep what they change reachable: fix-ups are applied again, check sums made right, metadata sealed
with the volume's own key. Each image goes the whole way of a drive (``exercise``) in a process of its
own that is watched from outside (``workers``). What is found is made small (``minimise``) and kept in
``regressions``.

Makers of structures in here are independent of ``agent`` on purpose.
"""
