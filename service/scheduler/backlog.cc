#include "service/scheduler/backlog.h"
