"""The few hot loops. Each has a plain reference beside it that defines what it must return."""

from lexite.kernels.hardware import shorten_spinning

shorten_spinning()
