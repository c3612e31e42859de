"""A kopf operator that skips what it has already done, and backs off from a sick dependency.

fastcore apiserver --kubeconfig /tmp/kubeconfig &
KUBECONFIG=/tmp/kubeconfig kopf run -n default examples/kopf_operator.py
"""

import kopf

from fastcore import CircuitBreaker, CircuitOpenError, LRUCache, fingerprint

done: LRUCache[str, int] = LRUCache(10_000)
registry = CircuitBreaker("image-registry", failure_threshold=3, open_for=30.0)
checked: list[str] = []


def check_image(name: str, image: str) -> None:
    """Ask the registry whether the image exists; here it is enough that it has a tag."""
    checked.append(name)
    if ":" not in image:
        raise kopf.PermanentError(f"image {image!r} has no tag")


@kopf.on.event("configmaps", field="data.image")
def image_changed(name: str, namespace: str, body: kopf.Body, logger: kopf.Logger, **_: object) -> None:
    """Check an image once for each content, however often the object is touched."""
    key = f"{namespace}/{name}"
    mark = fingerprint(dict(body.get("data", {})))
    if done.get(key) == mark:
        return
    try:
        registry.call(check_image, name, body["data"]["image"])
    except CircuitOpenError as error:
        raise kopf.TemporaryError(str(error), delay=error.remaining) from error
    done[key] = mark
    logger.info("image of %s is fine", key)
