-- The health of every kind of group terminals.dev, in agreement with kstatus, by which Flux and others judge the same status.
-- Progressing is what the controller is at and needs nobody for, a token that has expired included. Degraded is what people have to mend.
-- Healthy is what is as spec, bans and people's acts ask: also a session that was signed out, a ban that is over, a logout that has run.

local function health(status, message)
  return {status = status, message = message or ""}
end

if obj.metadata.deletionTimestamp ~= nil then
  return health("Progressing", "It is being deleted.")
end

-- The schema says -1 until the controller has looked at an object for the first time.
if obj.status == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return health("Progressing", "The session controller has not looked at this spec yet.")
end

local conditions = {}
for _, condition in ipairs(obj.status.conditions or {}) do
  conditions[condition.type] = condition
end

local function is(kind)
  return conditions[kind] ~= nil and conditions[kind].status == "True"
end

if is("Stalled") then
  return health("Degraded", conditions.Stalled.message)
end
if is("Reconciling") then
  return health("Progressing", conditions.Reconciling.message)
end

-- In place of Ready a ban has Enforced, which is False when its time is over, and a logout that has run has Complete.
local said = conditions.Ready or conditions.Enforced or conditions.Complete
if said ~= nil and (said.status == "True" or conditions.Ready == nil) then
  return health("Healthy", said.message)
end
return health("Progressing", said and said.message)
