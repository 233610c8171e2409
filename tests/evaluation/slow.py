"""Panoptic quality's definition and the official exceptions, from sets of pixels: slow, and easy to trust."""

from __future__ import annotations

from collections import defaultdict


class SlowImage:
    """The segments of an image as sets of pixels, and which of them match."""

    def __init__(self, pair):
        self.truth, self.predicted = pair.truth_segments, pair.predicted_segments
        self._truth_pixels, self._predicted_pixels = defaultdict(set), defaultdict(set)
        for place, true in zip(range(pair.truth_ids.size), pair.truth_ids.ravel().tolist(), strict=True):
            self._truth_pixels[true].add(place)
        for place, predicted in zip(range(pair.truth_ids.size), pair.predicted_ids.ravel().tolist(), strict=True):
            self._predicted_pixels[predicted].add(place)
        self.void = self._truth_pixels[0]
        self.matches = [
            (true, predicted, self.iou(true, predicted))
            for true in self.truth
            for predicted in self.predicted
            if not true.is_crowd and true.category_id == predicted.category_id and self.iou(true, predicted) > 0.5
        ]
        matched_truth, matched = {true.id for true, *_ in self.matches}, {p.id for _, p, _ in self.matches}
        self.missed = [true for true in self.truth if not true.is_crowd and true.id not in matched_truth]
        self.surplus = [p for p in self.predicted if p.id not in matched and not self._is_excused(p)]

    def of_truth(self, segment):
        """Pixels of a true segment."""
        return self._truth_pixels[segment.id]

    def of_prediction(self, segment):
        """Pixels of a predicted segment."""
        return self._predicted_pixels[segment.id]

    def iou(self, true, predicted):
        """Of a true and a predicted segment, void left out."""
        a, b = self.of_truth(true), self.of_prediction(predicted)
        return len(a & b) / len(a | (b - self.void))

    def _is_excused(self, predicted):
        excuse = set(self.void)
        crowds = [true for true in self.truth if true.is_crowd and true.category_id == predicted.category_id]
        if crowds:
            excuse |= self.of_truth(crowds[-1])
        pixels = self.of_prediction(predicted)
        return len(pixels & excuse) / len(pixels) > 0.5
