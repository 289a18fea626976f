-- lua health_test.lua HEALTH.lua: the script of argocd-cm.yaml, judged on statuses as the program writes them.
local source = assert(io.open(arg[1])):read("*a")
-- As Argo CD runs it: the object is a global, the answer is returned. No io, no os, no require.
local function judge(object)
  local env = {obj = object, ipairs = ipairs, pairs = pairs}
  local chunk
  if setfenv then chunk = assert(loadstring(source)); setfenv(chunk, env)
  else chunk = assert(load(source, "health", "t", env)) end
  return chunk()
end
local function object(kind, conditions, generation)
  local list = {}
  for _, c in ipairs(conditions or {}) do
    list[#list + 1] = {type = c[1], status = c[2], reason = c[3], message = c[4] or "", observedGeneration = c[5] or 1}
  end
  return {kind = kind, metadata = {name = "x", generation = generation or 1}, status = conditions and {conditions = list}}
end
local ok, quorum = {"Accepted", "True", "AsSpecified"}, {"Ready", "True", "AsSpecified"}
local cases = {
  {"a new object waits for the controller", object("HACluster"), "Progressing"},
  {"an accepted cluster waits for agents", object("HACluster", {ok}), "Progressing"},
  {"a good cluster", object("HACluster", {ok, quorum, {"Degraded", "False", "AsSpecified"}}), "Healthy"},
  {"a cluster without quorum", object("HACluster", {ok, {"Ready", "False", "NoQuorum", "1 of 3 voters are here"}}), "Degraded", "1 of 3"},
  {"a cluster that misses a member", object("HACluster", {ok, quorum, {"Degraded", "True", "MembersMissing", "2 of 3 voters are here"}}), "Degraded", "2 of 3"},
  {"a cluster that cannot fence", object("HACluster", {ok, quorum, {"FencingReady", "False", "NoFencingMethod", "node ctl3 has no fencing method"}}), "Degraded", "ctl3"},
  {"a refused change while all runs", object("VirtualIP", {{"Accepted", "False", "UnknownReference", "no network", 2}, quorum}, 2), "Degraded", "no network"},
  {"a change that nobody has judged", object("VirtualIP", {ok, quorum}, 2), "Progressing"},
  {"a change over a refused one", object("VirtualIP", {{"Accepted", "False", "UnknownReference", "no network", 1}}, 2), "Progressing"},
  {"a resource on its way", object("ResourcePlacement", {ok, {"Ready", "False", "Pending"}}), "Progressing"},
  {"a resource without a place", object("ResourcePlacement", {ok, {"Ready", "False", "Unplaceable", "web runs nowhere"}}), "Degraded", "nowhere"},
  {"an accepted device", object("FenceDevice", {ok}), "Healthy"},
  {"a device that can be used", object("FenceDevice", {ok, {"Ready", "True", "AsSpecified"}}), "Healthy"},
  {"a device without its Secret", object("FenceDevice", {ok, {"Ready", "False", "CredentialsInvalid", "secret lacks key"}}), "Degraded", "lacks key"},
  {"a member that cannot join", object("HANode", {ok, {"CannotJoin", "True", "KeyInvalid", "is 8 bytes"}}), "Degraded", "8 bytes"},
  {"an accepted constraint", object("PlacementConstraint", {ok}), "Healthy"},
  {"a request on its way", object("FencingRequest", {{"Accepted", "True", "Pending"}}), "Progressing"},
  {"a request that is done", object("FencingRequest", {{"Accepted", "True", "Done"}, {"Ready", "True", "Done", "off"}}), "Healthy", "off"},
  {"a request that was refused", object("FencingRequest", {{"Accepted", "False", "Refused", "no quorum without it"}, {"Ready", "False", "Refused"}}), "Degraded", "no quorum"},
}
local wrong = 0
for _, case in ipairs(cases) do
  local said = judge(case[2])
  if said.status ~= case[3] or not tostring(said.message):find(case[4] or "", 1, true) then
    wrong = wrong + 1
    print("WRONG " .. case[1] .. ": " .. tostring(said.status) .. ": " .. tostring(said.message))
  end
end
print(#cases .. " cases, " .. wrong .. " wrong")
os.exit(wrong == 0 and 0 or 1)
