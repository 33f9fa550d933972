"""Unpacks an image in the OCI layout, and prints its configuration: unpack_oci.py LAYOUT DIRECTORY"""
import json
import pathlib
import sys
import tarfile

layout, directory = map(pathlib.Path, sys.argv[1:])


def blob(descriptor):
    algorithm, digest = descriptor["digest"].split(":")
    return layout / "blobs" / algorithm / digest


index = json.loads((layout / "index.json").read_text())
(only,) = index["manifests"]
manifest = json.loads(blob(only).read_text())
image = json.loads(blob(manifest["config"]).read_text())
print("name", only["annotations"]["org.opencontainers.image.ref.name"])
print("architecture", image["architecture"])
print("user", image["config"].get("User"))
print("entrypoint", *image["config"]["Entrypoint"])
for layer in manifest["layers"]:
    with tarfile.open(blob(layer)) as archive:
        archive.extractall(directory)
