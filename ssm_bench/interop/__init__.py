"""Models of others, from their own parameter files."""

from ssm_bench.interop.reference import SOURCES, ReferenceClassifier, ReferenceLayer, load_reference

__all__ = ["SOURCES", "ReferenceClassifier", "ReferenceLayer", "load_reference"]
