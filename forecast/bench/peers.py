#!/usr/bin/env python3
"""Time one forecast of each history by Prophet and by statsforecast's AutoETS.

usage: peers.py METHOD STEPS   (histories on stdin, one JSON [[unix time, value], ...] a line)

METHOD is prophet, autoets (no season) or autoets-7 (weekly season). Each history is fitted and its next STEPS values
are forecast with 80 % intervals. Importing and one history for warming up
(compilation) are not timed. Prints the median of the seconds per history, of
the processor.
"""
import json
import logging
import resource
import statistics
import sys
import warnings

import numpy as np

warnings.filterwarnings("ignore")
logging.getLogger("cmdstanpy").setLevel(logging.CRITICAL)
logging.getLogger("prophet").setLevel(logging.CRITICAL)


def prophet(points, steps):
    import pandas as pd
    from prophet import Prophet

    days = pd.to_datetime([t for t, _ in points], unit="s")
    model = Prophet(interval_width=0.8)
    model.fit(pd.DataFrame(dict(ds=days, y=[v for _, v in points])))
    return model.predict(model.make_future_dataframe(periods=steps, include_history=False))


def autoets(points, steps, season=1):
    from statsforecast.models import AutoETS

    return AutoETS(season_length=season).forecast(np.array([v for _, v in points]), h=steps, level=[80])


def autoets_weekly(points, steps):
    """The season that daily results ask for."""
    return autoets(points, steps, 7)


def processor():
    """The time that this process and those it started (Prophet's Stan) have had of all cores."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def main():
    method = {"prophet": prophet, "autoets": autoets, "autoets-7": autoets_weekly}[sys.argv[1]]
    steps = int(sys.argv[2])
    histories = [json.loads(line) for line in sys.stdin]
    method(histories[0], steps)
    times = []
    for h in histories:
        start = processor()
        method(h, steps)
        times.append(processor() - start)
    print(statistics.median(times))


if __name__ == "__main__":
    main()
