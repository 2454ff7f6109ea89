# A worker of workerd that talks, as a test, to the server at $ADDRESS.
using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "main", worker = (
      modules = [(name = "worker", esModule = embed "workerd.js")],
      compatibilityDate = "2025-01-01",
      bindings = [(name = "ADDRESS", fromEnvironment = "ADDRESS")])),
    (name = "internet", network = (allow = ["private", "public", "local"]))]);
