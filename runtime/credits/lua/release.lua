-- release: gives all of a reservation back, because there is no answer to charge for.
-- args: outcome key index, execution key, attempt, fingerprint, dimensions, exposure_mc, reason,
--       store ('1' makes it the outcome; a cancelled attempt leaves none), outcome bytes
-- answer: {'released', available} | {'existing', ...} | {'nothing', available} where this
--         attempt has no open reservation | {'conflict', part of fingerprint}

V.release = function(args)
  local outcome_key, execution_key, attempt = KEYS[tonumber(args[1])], args[2], args[3]
  local fingerprint, dimensions = args[4], args[5]
  local exposure, reason = whole(args[6], 'exposure_mc'), args[7]
  local outcome = outcome_of(outcome_key)
  if outcome then
    if outcome.attempt == attempt and outcome.state == 'released' then
      return { 'released', S.account.available }
    end
    return existing(outcome, fingerprint)
  end
  local record = reservation_now(execution_key)
  if not is_open(record) or record.attempt ~= attempt then
    if exposure > 0 then expose(execution_key, dimensions, exposure, '', '') end
    return { 'nothing', S.account.available }
  end
  local conflict = differs_at(record.fingerprint, fingerprint)
  if conflict then return conflict end

  local postings = {}
  end_slices(execution_key, record.slices, 0, S.now, postings)
  S.account.exposure = S.account.exposure + exposure
  journal({ kind = 'released', execution_key = execution_key, postings = postings,
    reserved_at = record.reserved_at, slices = record.slices, dimensions = dimensions,
    flags = exposure > 0 and 'exposure' or '', reason = reason, exposure = exposure })
  save_reservation(execution_key, false)
  if args[8] == '1' then
    store_outcome(outcome_key, { state = 'released', attempt = attempt, fingerprint = fingerprint,
      charged = 0, overage = 0, reason = reason, bytes = args[9] })
  end
  return { 'released', S.account.available }
end
