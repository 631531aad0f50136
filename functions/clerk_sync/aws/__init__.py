"""What every part needs of AWS: clients with one configuration, DynamoDB values, secrets."""
