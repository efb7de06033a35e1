"""``python -m tests.fuzz``: a campaign, or single images again."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from tests.fuzz import campaign, regressions
from tests.fuzz.campaign import Summary
from tests.fuzz.compose import make_image
from tests.fuzz.minimise import minimised
from tests.fuzz.workers import LIMIT_S, Workers

DEFAULT_SEED = 1


def main(arguments: list[str]) -> int:
    """Exit code 1 when something was found."""
    options = _parser().parse_args(arguments)
    if options.show is not None:
        image = make_image(options.seed, options.show)
        print(
            f"image {image.name} of base {image.base}, {image.size_bytes} bytes, {len(image.patches)} patches"
        )
        print("\n".join(f"  {step}" for step in image.steps))
        images, first = 1, options.show
    else:
        images, first = options.images, options.first
    print(f"seed {options.seed}, images {first}..{first + images - 1}, {options.jobs} workers", flush=True)
    summary = Summary()
    with Workers(options.jobs, limit_s=options.limit) as workers:
        for _, image, verdict in campaign.run(workers, images=images, seed=options.seed, first=first):
            summary.add(image, verdict)
            if verdict.finding is not None and summary.times[verdict.finding.signature] == 1:
                print(f"image {image.name}: {verdict.finding.text}", flush=True)
            elif summary.images % 1000 == 0:
                print(f"{summary.images} images, {len(summary.findings)} findings", flush=True)
        for finding, image in summary.findings.values():
            path = regressions.save(minimised(image, finding, workers), finding, options.keep)
            print(f"kept as {path}", flush=True)
    print("\n".join(summary.lines()))
    return 1 if summary.findings else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--images", type=int, default=1000, help="how many (default %(default)s)")
    parser.add_argument(
        "--seed", type=int, default=DEFAULT_SEED, help="what they follow from (default %(default)s)"
    )
    parser.add_argument(
        "--first", type=int, default=0, help="number of the first image (default %(default)s)"
    )
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="processes (default %(default)s)"
    )
    parser.add_argument(
        "--limit", type=float, default=LIMIT_S, help="seconds an image may take (default %(default)s)"
    )
    parser.add_argument(
        "--show", type=int, metavar="NUMBER", help="tell what is done to this one image, and run it"
    )
    parser.add_argument("--keep", type=Path, default=regressions.FOLDER, help="folder for what is found")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
