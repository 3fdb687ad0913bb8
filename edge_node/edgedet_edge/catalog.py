"""The packages that a node serves: loaded, measured, found by name, told to clients."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, get_args

import structlog
from edgedet_runtime.answer import Finisher
from edgedet_runtime.backend import RegisteredBackend
from edgedet_runtime.chain import prepare_chain
from edgedet_runtime.errors import PackageRefused, RuntimeFault, UnknownModel
from edgedet_runtime.manifest import Task
from edgedet_runtime.package import Package, Refusal, find_package, scan_packages
from edgedet_runtime.profile import measure_profile

from edgedet_edge.descriptions import describe_model
from edgedet_edge.job import ServedModel

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Catalog:
    """Served models in the order of their names, and the folders that were refused."""

    models: tuple[ServedModel, ...]
    refusals: tuple[Refusal, ...]
    default_model: str = ""
    """For requests that name none; empty: the first of the task by name."""

    @classmethod
    def load(cls, folder: Path, backend: RegisteredBackend, default_model: str, *, whole: bool) -> Self:
        """Load every package below `folder` and measure what it costs here; `whole` where no segment can leave.

        A package that cannot be run, or that the backend misses something for, is refused like one that is broken: the
        others are served.

        Raises:
            RuntimeFault: there is no package, or not the one that `default_model` names.
        """
        packages, refusals = scan_packages(folder)
        if packages:
            _check_default(packages, default_model)  # before all the work
        models: list[ServedModel] = []
        for package in packages:
            try:
                models.append(_serve(package, backend, whole=whole))
            except PackageRefused as error:
                refusals.append(Refusal(package.folder, str(error)))
            except RuntimeFault as error:
                refusals.append(Refusal(package.folder, f"{package.folder}: {error}"))
        for refusal in refusals:
            log.error("package refused", reason=refusal.reason)
        if not packages and refusals:
            raise PackageRefused(f"models: every package is refused, the first because of {refusals[0].reason}")
        if not packages:
            raise PackageRefused(
                f"models: no package below {folder.absolute()}; a package is NAME/VERSION/manifest.json; "
                "--models names another folder"
            )
        if not models:
            raise PackageRefused(f"backend: {backend.name} runs no package: {refusals[-1].reason}")
        _check_default([model.package for model in models], default_model)
        return cls(tuple(models), tuple(refusals), default_model)

    def find(self, task: Task, wanted: str | None) -> ServedModel:
        """The model for ``name[:version]``, or the node's choice.

        Raises:
            UnknownModel: naming what there is.
        """
        packages = [model.package for model in self.models]
        if not wanted and self.default_model and _found(packages, task, self.default_model):
            wanted = self.default_model
        return self._served(find_package(packages, task, wanted))

    def describe(self) -> dict[str, Any]:
        """The document of `/v1/models`."""
        return {
            "models": [self._describe(model) for model in self.models],
            "refused": {str(refusal.folder): refusal.reason for refusal in self.refusals},
        }

    def describe_one(self, wanted: str) -> dict[str, Any]:
        """The document of `/v1/models/{name}`.

        Raises:
            UnknownModel: naming what there is.
        """
        packages = [model.package for model in self.models]
        for task in get_args(Task):
            package = _found(packages, task, wanted)
            if package is not None:
                return self._describe(self._served(package))
        known = ", ".join(package.reference for package in packages)
        raise UnknownModel(f"model: no package {wanted!r}; there are: {known}")

    def _served(self, package: Package) -> ServedModel:
        return next(model for model in self.models if model.package is package)

    def _describe(self, model: ServedModel) -> dict[str, Any]:
        return describe_model(model, is_default=self.find(model.package.manifest.task, None) is model)


def _serve(package: Package, backend: RegisteredBackend, *, whole: bool) -> ServedModel:
    chain, finisher = prepare_chain(package, backend, whole=whole), Finisher.load(package)
    profile = measure_profile(chain, finisher)
    log.info("package ready", package=package.reference, digest=package.digest, ms=round(profile.total_ms, 1))
    return ServedModel(package, chain, finisher, profile)


def _check_default(packages: list[Package], default_model: str) -> None:
    if default_model and not any(_found(packages, task, default_model) for task in get_args(Task)):
        known = ", ".join(package.reference for package in packages)
        raise UnknownModel(f"default_model: no package {default_model!r}; there are: {known}")


def _found(packages: list[Package], task: Task, wanted: str) -> Package | None:
    try:
        return find_package(packages, task, wanted)
    except UnknownModel:
        return None
