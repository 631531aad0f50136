"""One module per Lambda function: parse the event, make one call, map the answer."""
