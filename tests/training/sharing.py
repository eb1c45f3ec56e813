"""Programs that runs of equal settings share."""

from functools import cache


@cache
def shared(make):
    """`make_program` or its like that makes every program once; programs hold no state of a run."""
    made = {}

    def make_once(config, dataset, *, devices=1, init=None):
        if init:
            return make(config, dataset, devices=devices, init=init)
        key = (config.to_json(), dataset.vocab_size, dataset.pixel_mean, dataset.pixel_std, devices)
        if key not in made:
            made[key] = make(config, dataset, devices=devices)
        return made[key]

    return make_once
