"""Reading the store of Podman, Buildah and Skopeo (containers/storage), so that users can move over.

Nothing is written there and nothing is locked: its JSON files are replaced as a whole by those who write them. What is
taken away meanwhile makes reading fail with an error, as every layer is checked against its diffID.
"""
