// The one agent of the module.

import { create } from "../agent";
import { Agent } from "./wasm_engine";

// @ts-ignore: decorator
@lazy export const agent: Agent = create();
