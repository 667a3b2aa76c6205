"""A real device under the virtual clock: its answers are computed in a process of the machine, its times are invented.

What it computes, and whether it dies or hangs over it, is physical; when that happens in the run is not. A process that
is lost stays lost for whoever used it; the next one that the runtime spawns is started, and held to the golden answers
anew.
"""

from __future__ import annotations

import atexit

from harness.adapters.accelerators import Devices
from runtime.errors import ModelFailed
from runtime.inference.process import DeviceProcess, ProcessModels
from runtime.ports import Decoder
from scenarios.goldens import golden_of


class RealModels:
    """The `Models` port of one of the runtime's device processes; all of one machine share a process while it lives."""

    def __init__(self, machine: RealDevice) -> None:
        self._machine = machine
        self._served: ProcessModels | None = None

    def load(self, digest: str, onnx: bytes) -> Decoder:
        """Raises ModelFailed; "device" where the process cannot begin, is lost, or gives other answers."""
        if self._served is None:
            self._served = self._machine.serving()
        if self._served.process.failed:
            raise ModelFailed("device", self._served.process.failed, self._served.process.provider.name)
        return self._served.load(digest, onnx)


class RealDevice:
    """One device of this machine. `started` are the processes of it so far, the last one perhaps alive."""

    def __init__(self, devices: Devices) -> None:
        assert devices.provider is not None
        self._provider, self._patience = devices.provider, devices.patience
        self._served: ProcessModels | None = None
        self.started: list[DeviceProcess] = []
        atexit.register(self.close)

    def models(self) -> RealModels:
        return RealModels(self)

    def serving(self) -> ProcessModels:
        """The living process, or a new one; raises ModelFailed."""
        if self._served is None or self._served.process.failed:
            process = DeviceProcess(self._provider, self._patience)
            self.started.append(process)
            self._served = ProcessModels(process, golden_of)
        return self._served

    def close(self) -> None:
        for process in self.started:
            process.close()


_machines: dict[Devices, RealDevice] = {}


def real_device(devices: Devices) -> RealDevice:
    """This process's own, one for each way in which it is asked for."""
    if devices not in _machines:
        _machines[devices] = RealDevice(devices)
    return _machines[devices]
