"""Model families: functions that append ops to a Program."""
