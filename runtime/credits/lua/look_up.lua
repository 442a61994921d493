-- look_up: tells what is known of an execution id, and writes nothing.
-- args: execution
-- answer: {'unknown'} where there is neither an outcome nor an open reservation, of whichever
--         attempt | what executions.lua answers

V.look_up = function(_, record)
  return is_open(record) and in_progress(record) or { 'unknown' }
end
