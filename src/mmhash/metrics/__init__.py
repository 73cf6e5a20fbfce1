"""Figures of merit: functions from arrays to plain numbers, each with its definition and source."""
