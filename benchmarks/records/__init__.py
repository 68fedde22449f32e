"""What every long command has in common: how it is named, what it shows, what it measures of itself and writes down."""
